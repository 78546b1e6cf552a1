"""What happens to every request, whatever it asks for: an id, headers, a line, a count, a deadline.

Plain ASGI only: middleware that runs the application in a task of its own cancels what it should
not. Nothing here reads a body, a query string or a token.
"""

import asyncio
import re
import secrets
from collections.abc import Mapping
from time import perf_counter

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from app.errors import Overloaded
from app.telemetry import HTTP_IN_FLIGHT, HTTP_REQUESTS, HTTP_SECONDS
from app.transport.http.context import RequestContext, begin, context_of
from app.transport.http.outlive import Mutations, current_mutations
from app.transport.http.problems import internal_error, problem_of, problem_response

CLIENT_GONE = 499  # the customary status of a request that nobody waits for; never sent
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
_HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}
_PERSONAL = ("/v1/holds", "/v1/bookings")
_QUIET = frozenset({"/livez", "/readyz", "/metrics"})  # asked every few seconds, for ever

_log = structlog.get_logger()


class Identified:
    """A request id and the standing headers on every answer; the context of all that follows."""

    def __init__(self, app: ASGIApp, mutations: Mutations) -> None:
        self._app = app
        self._mutations = mutations

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        context = begin(scope, _request_id(scope))
        private = scope["path"].startswith(_PERSONAL)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = context.request_id
                for name, value in _HEADERS.items():
                    headers[name] = value
                if private:
                    headers["Cache-Control"] = "no-store"
            await send(message)

        token = current_mutations.set(self._mutations)
        try:
            with bound_contextvars(request_id=context.request_id):
                await self._app(scope, receive, send_with_headers)
        finally:
            current_mutations.reset(token)


class Observed:
    """One line and one count a request, by the route's template and never by its path."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = CLIENT_GONE

        async def send_observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        started = perf_counter()
        HTTP_IN_FLIGHT.inc()
        try:
            await self._app(scope, receive, send_observed)
        finally:
            HTTP_IN_FLIGHT.dec()
            _record(scope, status, perf_counter() - started)


class Bounded:
    """A deadline for the beginning of the answer, and an answer whatever happens.

    A stream may go on after its beginning. A change that runs in `outlive` goes on as well; its
    client is told to ask again.
    """

    def __init__(self, app: ASGIApp, deadline_seconds: float) -> None:
        self._app = app
        self._deadline_seconds = deadline_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False
        deadline = asyncio.timeout(self._deadline_seconds)

        async def send_within(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                deadline.reschedule(None)
            await send(message)

        try:
            async with deadline:
                await self._app(scope, receive, send_within)
        except ClientDisconnect:
            return
        except Exception as error:
            if begun:
                raise  # the answer cannot be taken back: the server cuts the connection
            if isinstance(error, TimeoutError) and deadline.expired():
                refusal = Overloaded(
                    "The answer was not ready in time; ask again, with the same Idempotency-Key."
                )
                response = problem_response(scope, problem_of(refusal))
            else:
                response = internal_error(scope, error)
            await response(scope, receive, send)


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).getlist("x-request-id")
    if len(given) == 1 and _REQUEST_ID.fullmatch(given[0]):
        return given[0]
    return secrets.token_hex(16)


def _record(scope: Scope, status: int, seconds: float) -> None:
    context: RequestContext = context_of(scope)
    method = scope["method"] if scope["method"] in _METHODS else "other"
    route = _template(scope)
    HTTP_REQUESTS.labels(method, route, str(status)).inc()
    HTTP_SECONDS.labels(method, route).observe(seconds)
    if route in _QUIET and status < 500:
        return
    caller = context.principal
    _log.info(
        "request",
        method=method,
        route=route,
        status=status,
        duration_ms=round(seconds * 1000, 1),
        **({"tenant_id": caller.tenant_id, "client_id": caller.client_id} if caller else {}),
        **({"code": context.code} if context.code else {}),
    )


def _template(scope: Scope) -> str:
    route = getattr(scope.get("route"), "path", None)
    mounted: str = scope.get("root_path", "")
    if mounted:  # what is inside tells its templates only if it is made like us
        return mounted + (route or "")
    if route is not None:
        return str(route)
    if "endpoint" in scope and not scope.get("path_params"):
        return str(scope["path"])  # a route without parameters is its own template
    return "unmatched"
