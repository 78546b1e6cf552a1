"""The outermost layer: gives every request an id, standard headers, a deadline, a counter and a log line.

One plain ASGI middleware does all of it, since every request and every message of every answer passes
through. It reads no body, no query string and no token.
"""

import asyncio
import random
import re
from collections.abc import Mapping, Sequence
from time import perf_counter

from prometheus_client import Counter, Histogram
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.concurrency.detached import DetachedTasks, current_detached_tasks
from app.errors import Overloaded
from app.telemetry.logging import log_request
from app.telemetry.metrics import HTTP_IN_FLIGHT, HTTP_REQUESTS, HTTP_SECONDS
from app.telemetry.processors import log_context
from app.telemetry.ticks import TickGauge
from app.transport.http.context import RequestContext, begin, headers_of
from app.transport.http.problems.problem import internal_error, problem_of, problem_response

CLIENT_GONE = 499  # for requests whose client has disconnected; logged by convention, never sent
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
_STANDARD_HEADERS: Sequence[tuple[bytes, bytes]] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)
_NO_STORE = (b"cache-control", b"no-store")
_PERSONAL_PATHS = ("/v1/holds", "/v1/bookings")
_NOT_LOGGED = frozenset({"/livez", "/readyz", "/metrics"})  # polled every few seconds; not logged


class EdgeMiddleware:
    """Ensures that every request is answered in time and logged.

    The deadline applies to the start of an answer; a stream may continue after it. A change in
    `run_detached` continues as well, and the client is asked to retry.
    """

    def __init__(self, app: ASGIApp, mutations: DetachedTasks, deadline_seconds: float) -> None:
        self._app = app
        self._mutations = mutations
        self._deadline_seconds = deadline_seconds
        self._meters = _Meters()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = headers_of(scope)
        context = begin(scope, _request_id(headers), headers)
        deadline = asyncio.timeout(self._deadline_seconds)
        answer = _Answer(send, deadline, _headers_for(scope, context))
        started = perf_counter()
        self._meters.begin()
        tokens = current_detached_tasks.set(self._mutations), log_context.set(context.log_context)
        try:
            await self._in_time(deadline, scope, receive, answer)
        finally:
            current_detached_tasks.reset(tokens[0])
            self._record(scope, context, answer.status, perf_counter() - started)
            log_context.reset(tokens[1])

    async def _in_time(
        self, deadline: asyncio.Timeout, scope: Scope, receive: Receive, answer: "_Answer"
    ) -> None:
        try:
            async with deadline:
                await self._app(scope, receive, answer)
        except ClientDisconnect:
            return
        except Exception as error:
            if answer.has_begun:
                raise  # the status is sent: the server closes the connection
            if isinstance(error, TimeoutError) and deadline.expired():
                refusal = Overloaded(
                    "The answer was not ready in time; retry with the same Idempotency-Key."
                )
                response = problem_response(scope, problem_of(refusal))
            else:
                response = internal_error(scope, error)
            answer.deadline = None
            await response(scope, receive, answer)

    def _record(self, scope: Scope, context: RequestContext, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "other"
        route = _template(scope)
        self._meters.end(method, route, status, seconds)
        if route in _NOT_LOGGED and status < 500:
            return
        log_request(method, route, status, seconds, context.code)


class _Answer:
    """The `send` of one request. It records when the answer starts, and with which status."""

    __slots__ = ("_headers", "_send", "deadline", "status")

    def __init__(
        self, send: Send, deadline: asyncio.Timeout, headers: Sequence[tuple[bytes, bytes]]
    ) -> None:
        self._send = send
        self._headers = headers
        self.deadline: asyncio.Timeout | None = deadline
        self.status = CLIENT_GONE

    @property
    def has_begun(self) -> bool:
        return self.status != CLIENT_GONE

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self.deadline is not None:
                self.deadline.reschedule(None)
            message["headers"] = [*message.get("headers", ()), *self._headers]
        await self._send(message)


class _Meters:
    """Counts answers by method, route and status. Metric children are looked up once and kept."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._in_flight = TickGauge(HTTP_IN_FLIGHT)

    def begin(self) -> None:
        self._in_flight.add(1)

    def end(self, method: str, route: str, status: int, seconds: float) -> None:
        found = self._found.get((method, route, status))
        if found is None:
            found = self._found[method, route, status] = (
                HTTP_REQUESTS.labels(method, route, str(status)),
                HTTP_SECONDS.labels(method, route),
            )
        counter, histogram = found
        counter.inc()
        histogram.observe(seconds)
        self._in_flight.add(-1)


def _headers_for(scope: Scope, context: RequestContext) -> Sequence[tuple[bytes, bytes]]:
    request_id = (b"x-request-id", context.request_id.encode())
    if scope["path"].startswith(_PERSONAL_PATHS):
        return (request_id, *_STANDARD_HEADERS, _NO_STORE)
    return (request_id, *_STANDARD_HEADERS)


def _request_id(headers: Mapping[bytes, Sequence[bytes]]) -> str:
    given = headers.get(b"x-request-id", ())
    if len(given) == 1:
        text = given[0].decode("latin-1")
        if _REQUEST_ID.fullmatch(text):
            return text
    return f"{random.getrandbits(128):032x}"  # an identifier, not a secret


def _template(scope: Scope) -> str:
    route = getattr(scope.get("route"), "path", None)
    mounted: str = scope.get("root_path", "")
    if mounted:  # an application below a mount need not set a route
        return mounted + (route or "")
    if route is not None:
        return str(route)
    if "endpoint" in scope and not scope.get("path_params"):
        return str(scope["path"])  # without parameters, the path is the template
    return "unmatched"
