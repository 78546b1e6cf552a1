"""The dependencies that an endpoint may declare, as annotated types.

A guarded route checks the caller and the Idempotency-Key before it calls the endpoint. Here they are only
declared, for OpenAPI; `arguments` provides their values. An endpoint with `Idempotency` requires a key, one
with `OptionalIdempotency` accepts one: the guarded route reads that from the signature.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Header, Query
from pydantic import BeforeValidator, Field
from starlette.requests import Request

from app.clock import Clock
from app.idempotency.model import IdempotencyKey
from app.identity.principal import Principal
from app.transport.http.context import context_of
from app.transport.http.pipeline.services import Service
from app.transport.http.problems.violations import refuse
from app.transport.http.wire.cursors import Cursors

LIMIT_DEFAULT = 50
LIMIT_MAX = 200
_AFTER_MAX = 2048  # characters of a cursor

_KEY_SCHEMA: dict[str, Any] = {"minLength": 1, "maxLength": 255}
_KEY_TEXT = (
    "Identifies this request in retries: printable ASCII, bare or quoted. The same key with the same "
    "body returns the first answer, with `Idempotent-Replayed: true`."
)


@dataclass(frozen=True, slots=True)
class Page:
    limit: int
    after: str | None


def _digits(value: object) -> object:
    if isinstance(value, str) and not (value.isascii() and value.isdecimal() and len(value) <= 9):
        raise refuse("wrong_type", "must be a whole number")
    return value


_DECLARED = AssertionError("only declared; `arguments` provides the value")
DIGITS = BeforeValidator(_digits)
"""For a number in a query, after its bounds: `Annotated[int, Field(ge=0, le=9), DIGITS]`. It accepts
ASCII digits only; pydantic would accept '1_0' and ' 7' as well.
"""


def principal() -> Principal:
    """The caller."""
    raise _DECLARED


def required_idempotency(
    _key: Annotated[
        str,
        Header(alias="Idempotency-Key", description=_KEY_TEXT, json_schema_extra=_KEY_SCHEMA),
    ],
) -> IdempotencyKey:
    raise _DECLARED


def optional_idempotency(
    _key: Annotated[
        str | None,
        Header(alias="Idempotency-Key", description=_KEY_TEXT, json_schema_extra=_KEY_SCHEMA),
    ] = None,
) -> IdempotencyKey | None:
    raise _DECLARED


def page(
    limit: Annotated[
        int,
        Field(ge=1, le=LIMIT_MAX),
        DIGITS,
        Query(description="Entries per page."),
    ] = LIMIT_DEFAULT,
    after: Annotated[
        str | None,
        Query(max_length=_AFTER_MAX, description="`meta.after` of the previous page."),
    ] = None,
) -> Page:
    return Page(limit, after)


CurrentPrincipal = Annotated[Principal, Depends(principal)]
Idempotency = Annotated[IdempotencyKey, Depends(required_idempotency)]
OptionalIdempotency = Annotated[IdempotencyKey | None, Depends(optional_idempotency)]
Paging = Annotated[Page, Depends(page)]

CURSORS = Service[Cursors]("cursors")
CLOCK = Service[Clock]("clock")
SignedCursors = Annotated[Cursors, Depends(CURSORS)]
CurrentClock = Annotated[Clock, Depends(CLOCK)]

Provided = Callable[[Request], Any]


def _caller(request: Request) -> Principal:
    caller = context_of(request.scope).principal
    assert caller is not None, "only a guarded route has a caller"
    return caller


def _key(request: Request) -> IdempotencyKey | None:
    return context_of(request.scope).idempotency


PROVIDED: Mapping[Any, Provided] = {
    principal: _caller,
    required_idempotency: _key,
    optional_idempotency: _key,
}
"""The value of each dependency, once a request has passed the checks."""
