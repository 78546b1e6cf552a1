"""The order of refusals, kept in one place.

    route 404/405 → token 401 → scope 403 → size 413 → media type 415 → JSON 400
    → Idempotency-Key 400 → body or query 422 → state

The library reads and parses a body before any dependency runs, so the order is kept by the route
class: it judges the caller first, then reads the body, and calls the endpoint itself; the body is
parsed once. A `ScopedRouter` declares a scope once, for the check and for OpenAPI.
"""

import re
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

from fastapi import APIRouter
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from app.concurrency.limiter import Limiter
from app.errors import DomainError, NotFound, ValidationFailed, Violation
from app.idempotency.model import IdempotencyKey
from app.identity.errors import Unauthenticated
from app.identity.principal import Principal, Scope
from app.transport.http.context import RequestContext, context_of
from app.transport.http.pipeline import body
from app.transport.http.pipeline.arguments import Arguments
from app.transport.http.pipeline.dependencies import optional_idempotency, required_idempotency
from app.transport.http.problems.problem import (
    IdempotencyKeyMissing,
    Refusal,
    on_validation,
    problem_of,
    problem_response,
)
from app.transport.http.problems.responses import documented, merged
from app.transport.http.problems.violations import VIOLATIONS_MAX

Authenticate = Callable[[str], Awaitable[Principal]]
Handler = Callable[[Request], Coroutine[Any, Any, Response]]

AUTHORIZATION_MAX = 8704  # bytes of the header
KEY_MAX = 255
_LENGTH = b"content-length"
_METHODS_WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_BARE_KEY = re.compile(r"[\x20-\x7e]+")
_QUOTED_KEY = re.compile(r'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])+)"')


@dataclass(frozen=True, slots=True)
class RequestGates:
    """What the guard needs of the application; kept in `app.state.rim`."""

    authenticate: Authenticate
    admission: Limiter


class ScopedRouter(APIRouter):
    """A router all of whose routes need one scope."""

    def __init__(
        self, *, scope: Scope, prefix: str = "", tags: Sequence[str | Enum] | None = None
    ) -> None:
        super().__init__(
            prefix=prefix, tags=list(tags) if tags else None, route_class=guarded(scope)
        )


def guarded(scope: Scope) -> type[APIRoute]:
    """A route class that lets only callers with the scope pass."""
    return type(f"Guarded_{scope.name}", (GuardedRoute,), {"required": scope})


class GuardedRoute(APIRoute):
    required: ClassVar[Scope]

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        self.responses = merged(documented(*_refusals_of(self)), self.responses)
        scopes = [self.required.value]
        security = {"security": [{"oauth2": scopes}, {"bearer": []}]}
        self.openapi_extra = {**security, **(self.openapi_extra or {})}
        self._handle = self.get_route_handler()

    async def serve(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """The route by itself, for whoever found it; the library's own way to it ends the same."""
        request = Request(scope, receive)
        response: Response
        try:
            response = await self._handle(request)
        except (DomainError, Refusal) as error:
            response = problem_response(scope, problem_of(error))
        except RequestValidationError as error:
            response = await on_validation(request, error)
        await response(scope, receive, send)

    def get_route_handler(self) -> Handler:
        reads_body = _takes_body(self)
        expects_body = self.body_field is not None
        key_required = _depends(self.dependant, required_idempotency)
        key_honoured = _honours_keys(self)
        parameters = frozenset(_parameters(self.dependant))
        arguments = Arguments(
            self.dependant, self.body_field, keeps_queries=self.required is Scope.OFFERS_READ
        )
        endpoint = self.endpoint
        assert reads_body or not expects_body, "a body of a GET is never read"

        async def guard(request: Request) -> Response:
            scope = request.scope
            rim: RequestGates = scope["app"].state.rim
            context = context_of(scope)
            caller = await rim.authenticate(_token(context))
            context.principal = caller
            context.log_context["tenant_id"] = caller.tenant_id
            context.log_context["client_id"] = caller.client_id
            caller.require(self.required)
            given: Any = {}
            raw = b""
            if reads_body:
                raw = await body.read(request)
                given = _parsed(context, raw, expected=expects_body)
            if key_honoured:
                context.idempotency = _idempotency(context, given, required=key_required)
            if scope["query_string"]:
                _check_parameters(request, parameters)
            _check_texts(request, raw, given, members_known=expects_body)
            async with rim.admission.turn():
                said = Response() if arguments.takes_response else None
                answered = await endpoint(**arguments.of(request, given, said))
            if isinstance(answered, Response):
                return answered
            if isinstance(answered, DomainError):
                return problem_response(scope, problem_of(answered))
            return self._told(answered, said)

        return guard

    def _told(self, answered: Any, said: Response | None) -> Response:
        """What an endpoint returned, straight to bytes; `said` has the status and headers it set."""
        status = self.status_code or 200
        if said is not None and said.status_code != 200:
            status = said.status_code
        if self.response_field is None:
            return Response(status_code=status)
        content = self.response_field.serialize_json(answered)
        response = Response(content, status, media_type="application/json")
        if said is not None:
            response.raw_headers += (one for one in said.raw_headers if one[0] != _LENGTH)
        return response


def _token(context: RequestContext) -> str:
    values = context.headers.get(b"authorization", ())
    if len(values) != 1 or len(values[0]) > AUTHORIZATION_MAX:
        raise Unauthenticated
    scheme, _, token = values[0].decode("latin-1").partition(" ")
    if scheme != "Bearer" or not token or " " in token:
        raise Unauthenticated
    return token


def _parsed(context: RequestContext, raw: bytes, *, expected: bool) -> Any:
    """Where no body is expected an empty one stands for the empty object."""
    content_type = context.first_header(b"content-type")
    if raw or (expected and content_type is not None):
        body.check_media_type(content_type or "")
    return body.parse(raw) if raw or expected else {}


def _idempotency(context: RequestContext, given: Any, *, required: bool) -> IdempotencyKey | None:
    values = context.headers.get(b"idempotency-key", ())
    if not values or values == [b""]:
        if not required:
            return None
        raise _key_refused("missing", "This request needs an Idempotency-Key.")
    key = _key(values[0].decode("latin-1")) if len(values) == 1 else None
    if key is None:
        raise _key_refused(
            "invalid", f"One key of 1 to {KEY_MAX} printable ASCII characters, bare or quoted."
        )
    return IdempotencyKey(key, body.fingerprint(given))


def _key(value: str) -> str | None:
    if value.startswith('"'):
        quoted = _QUOTED_KEY.fullmatch(value)
        key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else ""
    else:
        key = value if _BARE_KEY.fullmatch(value) else ""
    return key if 1 <= len(key) <= KEY_MAX else None


def _key_refused(code: str, detail: str) -> IdempotencyKeyMissing:
    return IdempotencyKeyMissing(
        detail, violations=[Violation("header", "Idempotency-Key", code, detail)]
    )


def _check_parameters(request: Request, known: Collection[str]) -> None:
    """A name that nobody knows is a filter that would not filter."""
    violations = [
        Violation(
            "parameter",
            name.replace("\0", "")[:64],
            "unknown_parameter",
            "This parameter is not known here.",
        )
        for name in dict.fromkeys(request.query_params.keys())
        if name not in known
    ]
    if violations:
        raise ValidationFailed(
            "Some parameters are not known; see errors.",
            violations=violations[:VIOLATIONS_MAX],
        )


def _check_texts(request: Request, raw: bytes, given: Any, *, members_known: bool) -> None:
    violations = body.unstorable(raw, given)
    if not members_known:
        violations += body.members_nobody_knows(given)
    if b"%00" in request.scope["query_string"]:
        violations += [
            Violation("parameter", name.replace("\0", "")[:64], "invalid", "Texts hold no NUL.")
            for name, value in request.query_params.multi_items()
            if "\0" in name or "\0" in value
        ]
    if violations:
        raise ValidationFailed(
            "Some values are not as described; see errors.", violations=violations
        )
    if any("\0" in str(value) for value in request.path_params.values()):
        raise NotFound("Nothing has such a name.")


def _refusals_of(route: APIRoute) -> list[str]:
    """Those of the guard itself, and of what every route stands on."""
    codes = ["unauthenticated", "scope_missing", "validation_error"]
    if _takes_body(route):
        codes += ["malformed_json", "body_too_large", "unsupported_media_type"]
    if _honours_keys(route):
        codes += ["idempotency_key_missing", "idempotency_key_reused", "idempotency_in_flight"]
    return [*codes, "hold_store_unavailable", "database_unavailable", "overloaded"]


def _takes_body(route: APIRoute) -> bool:
    return not _METHODS_WITH_BODY.isdisjoint(route.methods or ())


def _honours_keys(route: APIRoute) -> bool:
    return _depends(route.dependant, required_idempotency) or _depends(
        route.dependant, optional_idempotency
    )


def _parameters(dependant: Dependant) -> Iterator[str]:
    yield from (one.alias for one in dependant.query_params)
    for inner in dependant.dependencies:
        yield from _parameters(inner)


def _depends(dependant: Dependant, call: Callable[..., Any]) -> bool:
    return any(inner.call is call or _depends(inner, call) for inner in dependant.dependencies)
