"""Guarded routes, and the order of refusals that each of them keeps:

    route 404/405 → token 401 → scope 403 → size 413 → media type 415 → JSON 400
    → Idempotency-Key 400 → body or query 422 → state

FastAPI reads and parses a body before it calls any dependency, so it cannot keep that order. A
`GuardedRoute` declares an endpoint to FastAPI, for its signature and its document. A `GuardedEndpoint`
serves the route in one application: it checks the caller, reads the body once and calls the endpoint.
A `ScopedRouter` declares a scope once, for the check and for OpenAPI.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from enum import Enum
from functools import lru_cache
from typing import Any, ClassVar

from fastapi import APIRouter
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from app.errors import DomainError
from app.identity.principal import Scope
from app.transport.http.context import context_of
from app.transport.http.pipeline import body, gates
from app.transport.http.pipeline.arguments import Arguments, MissingService, Services
from app.transport.http.pipeline.dependencies import optional_idempotency, required_idempotency
from app.transport.http.pipeline.gates import RequestGates
from app.transport.http.pipeline.supported import METHODS_WITH_BODY, UnsupportedRoute, check_route
from app.transport.http.problems.responses import documented, merged
from app.transport.http.wire.schemas import Output

ExceptionHandlers = Mapping[Any, Callable[[Request, Any], Any]]
"""FastAPI's: by type of exception, or by status of an HTTPException."""

_LENGTH = b"content-length"
_BODYLESS = frozenset({204, 205, 304})


class ScopedRouter(APIRouter):
    """A router all of whose routes need one scope."""

    def __init__(
        self, *, scope: Scope, prefix: str = "", tags: Sequence[str | Enum] | None = None
    ) -> None:
        super().__init__(
            prefix=prefix, tags=list(tags) if tags else None, route_class=guarded(scope)
        )


def guarded(scope: Scope) -> type[APIRoute]:
    """A route class that admits only callers with the scope."""
    return type(f"Guarded_{scope.name}", (GuardedRoute,), {"required": scope})


class GuardedRoute(APIRoute):
    """Raises UnsupportedRoute for what a guarded route cannot do."""

    required: ClassVar[Scope]

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        check_route(self)
        self.responses = merged(documented(*_refusals_of(self)), self.responses)
        scopes = [self.required.value]
        security = {"security": [{"oauth2": scopes}, {"bearer": []}]}
        self.openapi_extra = {**security, **(self.openapi_extra or {})}

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """For requests that FastAPI dispatches, such as those below a mount: the same endpoint answers."""

        async def handle(request: Request) -> Response:
            endpoint: GuardedEndpoint = request.app.endpoint_of(self)
            return await endpoint.answer(request)

        return handle


class GuardedEndpoint:
    """One guarded route, as one application serves it."""

    def __init__(
        self,
        route: GuardedRoute,
        request_gates: RequestGates,
        services: Services,
        handlers: ExceptionHandlers,
    ) -> None:
        """Raises UnsupportedRoute where a service is missing."""
        self._route = route
        self._gates = request_gates
        self._handlers = handlers
        self._call = route.endpoint
        self._reads_body = _takes_body(route)
        self._expects_body = route.body_field is not None
        self._key_required = _depends(route.dependant, required_idempotency)
        self._key_honoured = _honours_keys(route)
        self._parameters = frozenset(_parameters(route.dependant))
        try:
            self._arguments = Arguments(
                route.dependant,
                route.body_field,
                services,
                caches_queries=route.required is Scope.OFFERS_READ,
            )
        except MissingService as missing:
            raise UnsupportedRoute(
                f"{route.path} ({route.name}) needs the service {missing}; give it to create_app."
            ) from None
        self._render = _rendering_options(route)

    async def serve(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Answers a request that was found in the route table."""
        request = Request(scope, receive)
        try:
            response = await self.answer(request)
        except Exception as error:
            handler = self._handler_of(error)
            if handler is None:
                raise
            response = await _handled(handler, request, error)
        await response(scope, receive, send)

    async def answer(self, request: Request) -> Response:
        scope = request.scope
        context = context_of(scope)
        caller = await self._gates.authenticate(gates.bearer_token(context))
        context.principal = caller
        context.log_context["tenant_id"] = caller.tenant_id
        context.log_context["client_id"] = caller.client_id
        caller.require(self._route.required)
        given: Any = {}
        raw = b""
        if self._reads_body:
            raw = await body.read(request)
            given = gates.parsed_body(context, raw, expected=self._expects_body)
        if self._key_honoured:
            context.idempotency = gates.idempotency_key(context, given, required=self._key_required)
        if scope["query_string"]:
            gates.check_parameters(request, self._parameters)
        gates.check_texts(request, raw, given, members_known=self._expects_body)
        async with self._gates.admission.permit():
            changes = _unset_response() if self._arguments.takes_response else None
            returned = await self._call(**self._arguments.of(request, given, changes))
        if isinstance(returned, Response):
            return returned
        if isinstance(returned, DomainError):
            handler = self._handler_of(returned)
            assert handler is not None, "every application has one for DomainError"
            return await _handled(handler, request, returned)
        return self._rendered(returned, changes)

    def _rendered(self, returned: Any, changes: Response | None) -> Response:
        """Renders the answer as FastAPI would; `changes` has the status and headers that the endpoint set."""
        status = self._route.status_code or 200
        if changes is not None and changes.status_code:
            status = changes.status_code
        response: Response
        if status in _BODYLESS:
            response = Response(status_code=status)
        else:
            response = Response(self._json(returned), status, media_type="application/json")
        if changes is not None:
            response.raw_headers += (one for one in changes.raw_headers if one[0] != _LENGTH)
        return response

    def _json(self, returned: Any) -> bytes:
        field = self._route.response_field
        if field is None:
            assert returned is None, "a value is returned, but none is declared"
            return b"null"
        if not isinstance(returned, Output):  # an Output was validated when it was created
            returned, errors = field.validate(returned, loc=("response",))
            assert not errors, "the value is not of the declared type"
        return field.serialize_json(returned, **self._render)

    def _handler_of(self, error: Exception) -> Callable[[Request, Any], Any] | None:
        if isinstance(error, HTTPException) and error.status_code in self._handlers:
            return self._handlers[error.status_code]
        for kind in type(error).__mro__:
            if kind in self._handlers:
                return self._handlers[kind]
        return None


async def _handled(
    handler: Callable[[Request, Any], Any], request: Request, error: Exception
) -> Response:
    response: Response
    if _is_async(handler):
        response = await handler(request, error)
    else:
        response = await run_in_threadpool(handler, request, error)
    return response


@lru_cache(maxsize=64)  # an application registers a handful
def _is_async(handler: Callable[[Request, Any], Any]) -> bool:
    return asyncio.iscoroutinefunction(handler)


def _unset_response() -> Response:
    response = Response()
    response.status_code = None  # type: ignore[assignment] # so that 200 differs from unset
    return response


def _rendering_options(route: GuardedRoute) -> dict[str, Any]:
    """The options that were set; the defaults of pydantic and FastAPI are the same."""
    options = {
        "include": route.response_model_include,
        "exclude": route.response_model_exclude,
        "exclude_unset": route.response_model_exclude_unset,
        "exclude_defaults": route.response_model_exclude_defaults,
        "exclude_none": route.response_model_exclude_none,
    }
    chosen: dict[str, Any] = {name: value for name, value in options.items() if value}
    if not route.response_model_by_alias:
        chosen["by_alias"] = False
    return chosen


def _refusals_of(route: APIRoute) -> list[str]:
    """The refusals of the checks, and of the stores that every endpoint uses."""
    codes = ["unauthenticated", "scope_missing", "validation_error"]
    if _takes_body(route):
        codes += ["malformed_json", "body_too_large", "unsupported_media_type"]
    if _honours_keys(route):
        codes += ["idempotency_key_missing", "idempotency_key_reused", "idempotency_in_flight"]
    return [*codes, "hold_store_unavailable", "database_unavailable", "overloaded"]


def _takes_body(route: APIRoute) -> bool:
    return not METHODS_WITH_BODY.isdisjoint(route.methods or ())


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
