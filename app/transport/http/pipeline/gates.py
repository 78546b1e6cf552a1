"""The checks that a request passes before its endpoint runs. `guarded_route` has their order."""

import re
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request

from app.concurrency.limiter import Limiter
from app.errors import NotFound, ValidationFailed, Violation
from app.idempotency.model import IdempotencyKey
from app.identity.errors import Unauthenticated
from app.identity.principal import Principal
from app.transport.http.context import RequestContext
from app.transport.http.pipeline import body
from app.transport.http.problems.problem import IdempotencyKeyMissing
from app.transport.http.problems.violations import VIOLATIONS_MAX

Authenticate = Callable[[str], Awaitable[Principal]]

AUTHORIZATION_MAX: Final = 8704  # bytes of the header
KEY_MAX: Final = 255
_BARE_KEY = re.compile(r"[\x20-\x7e]+")
_QUOTED_KEY = re.compile(r'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])+)"')


@dataclass(frozen=True, slots=True)
class RequestGates:
    """The objects of one application that the checks use."""

    authenticate: Authenticate
    admission: Limiter


def bearer_token(context: RequestContext) -> str:
    values = context.headers.get(b"authorization", ())
    if len(values) != 1 or len(values[0]) > AUTHORIZATION_MAX:
        raise Unauthenticated
    scheme, _, token = values[0].decode("latin-1").partition(" ")
    if scheme != "Bearer" or not token or " " in token:
        raise Unauthenticated
    return token


def parsed_body(context: RequestContext, raw: bytes, *, expected: bool) -> Any:
    """Where no body is expected, an empty one stands for the empty object."""
    content_type = context.first_header(b"content-type")
    if raw or (expected and content_type is not None):
        body.check_media_type(content_type or "")
    return body.parse(raw) if raw or expected else {}


def idempotency_key(
    context: RequestContext, given: Any, *, required: bool
) -> IdempotencyKey | None:
    values = context.headers.get(b"idempotency-key", ())
    if not values or values == [b""]:
        if not required:
            return None
        raise _key_refused("missing", "This request requires an Idempotency-Key.")
    key = _key(values[0].decode("latin-1")) if len(values) == 1 else None
    if key is None:
        raise _key_refused(
            "invalid",
            f"must be one key of 1 to {KEY_MAX} printable ASCII characters, bare or quoted",
        )
    return IdempotencyKey(key, body.fingerprint(given))


def check_parameters(request: Request, known: Collection[str]) -> None:
    """An unknown parameter would be a filter that does not filter."""
    violations = [
        Violation(
            "parameter",
            name.replace("\0", "")[:64],
            "unknown_parameter",
            "unknown parameter",
        )
        for name in dict.fromkeys(request.query_params.keys())
        if name not in known
    ]
    if violations:
        raise ValidationFailed(
            "Some parameters are unknown; see errors.",
            violations=violations[:VIOLATIONS_MAX],
        )


def check_texts(request: Request, raw: bytes, given: Any, *, members_known: bool) -> None:
    violations = body.unstorable(raw, given)
    if not members_known:
        violations += body.unknown_members(given)
    if b"%00" in request.scope["query_string"]:
        violations += [
            Violation("parameter", name.replace("\0", "")[:64], "invalid", "must not contain NUL")
            for name, value in request.query_params.multi_items()
            if "\0" in name or "\0" in value
        ]
    if violations:
        raise ValidationFailed("Some values are invalid; see errors.", violations=violations)
    if any("\0" in str(value) for value in request.path_params.values()):
        raise NotFound("No resource has such an id.")


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
