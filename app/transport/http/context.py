"""What is known about the request being answered, from its first byte to its line in the log.

One mutable value in the ASGI scope, made by the outermost layer; the guard adds the caller and what it
read of the Idempotency-Key. Headers are sorted by name once, as several layers ask for a few of them.
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
    headers: Mapping[bytes, Sequence[bytes]]  # by their names in lower case, as ASGI has them
    log_context: dict[str, str]  # on every line that is logged meanwhile
    principal: Principal | None = None
    idempotency: IdempotencyKey | None = None
    code: str | None = None  # of the refusal, when it was one

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
