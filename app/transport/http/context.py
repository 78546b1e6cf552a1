"""The context of one request: a mutable value in its ASGI scope.

The outermost layer creates it; the guarded route adds the caller and the idempotency key. Headers are
grouped by name once, since several layers read a few of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from starlette.types import Scope as AsgiScope

from app.idempotency.model import IdempotencyKey
from app.identity.principal import Principal

_KEY = "holdfast.request"


@dataclass(slots=True, eq=False)
class RequestContext:
    request_id: str
    headers: Mapping[bytes, Sequence[bytes]]  # by name in lower case, as in ASGI
    log_context: dict[str, str]  # added to every log line of the request
    principal: Principal | None = None
    idempotency: IdempotencyKey | None = None
    code: str | None = None  # of the refusal, if the request was refused

    def first_header(self, name: bytes) -> str | None:
        values = self.headers.get(name)
        return values[0].decode("latin-1") if values else None


def headers_of(scope: AsgiScope) -> dict[bytes, list[bytes]]:
    found: dict[bytes, list[bytes]] = {}
    for name, value in scope["headers"]:
        if name in found:
            found[name].append(value)
        else:
            found[name] = [value]
    return found


def begin(
    scope: AsgiScope, request_id: str, headers: Mapping[bytes, Sequence[bytes]]
) -> RequestContext:
    context = RequestContext(request_id, headers, {"request_id": request_id})
    scope[_KEY] = context
    return context


def context_of(scope: AsgiScope) -> RequestContext:
    context: RequestContext = scope[_KEY]
    return context
