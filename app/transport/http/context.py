"""What is known about the request being answered, from its first byte to its line in the log.

One mutable value in the ASGI scope, made by the outermost middleware; the guard adds the caller and
what it read of the Idempotency-Key.
"""

from dataclasses import dataclass

from starlette.types import Scope as AsgiScope

from app.idempotency.model import IdempotencyKey
from app.identity.principal import Principal

_KEY = "holdfast.request"


@dataclass(slots=True)
class RequestContext:
    request_id: str
    principal: Principal | None = None
    idempotency: IdempotencyKey | None = None
    code: str | None = None  # of the refusal, when it was one


def begin(scope: AsgiScope, request_id: str) -> RequestContext:
    context = RequestContext(request_id)
    scope[_KEY] = context
    return context


def context_of(scope: AsgiScope) -> RequestContext:
    context: RequestContext = scope[_KEY]
    return context
