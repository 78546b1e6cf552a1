"""Builds the HTTP application from the objects that wiring hands in."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from datetime import date
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.types import ASGIApp

from app.clock import Clock, utc_now
from app.concurrency.detached import DetachedTasks
from app.concurrency.limiter import Limiter
from app.errors import DomainError
from app.transport.http.openapi.docs_page import docs_router
from app.transport.http.openapi.document import TITLE, document_of, with_examples
from app.transport.http.openapi.examples import Examples
from app.transport.http.pipeline.arguments import Services
from app.transport.http.pipeline.dependencies import CLOCK
from app.transport.http.pipeline.edge import EdgeMiddleware
from app.transport.http.pipeline.gates import Authenticate, RequestGates
from app.transport.http.pipeline.guarded_route import GuardedEndpoint, GuardedRoute
from app.transport.http.pipeline.route_table import GuardedDispatch, RouteTable
from app.transport.http.pipeline.services import GivenService
from app.transport.http.pipeline.supported import NoOverrides, check_application
from app.transport.http.problems.problem import (
    Refusal,
    on_http_exception,
    on_refusal,
    on_validation,
)
from app.transport.http.routers import health
from app.transport.http.routers.health import Check


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one application.

    The deadline is longer than the 5 s for which a second request with the same Idempotency-Key may
    wait for the first, and longer than `queue_seconds`, so that a request which waited for its permit
    has time left for the work itself.
    """

    concurrency: int = 64
    queue: int = 4096
    queue_seconds: float = 4.0
    deadline_seconds: float = 6.0
    drain_seconds: float = 10.0


def create_app(
    *,
    authenticate: Authenticate,
    routers: Sequence[APIRouter],
    services: Iterable[GivenService] = (),
    checks: Mapping[str, Check],
    version: str,
    mounts: Mapping[str, ASGIApp] | None = None,
    lifespan: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
    token_url: str | None = None,
    demo_client: str | None = None,
    examples_on: Callable[[date], Examples] | None = None,
    clock: Clock = utc_now,
    limits: Limits = Limits(),
) -> "Application":
    """Raises UnsupportedRoute, at the latest when the application starts.

    `lifespan` encloses all requests and detached tasks; `token_url` and `demo_client` fill in the
    Authorize dialog of the documentation page.
    """
    mutations = DetachedTasks()

    @asynccontextmanager
    async def whole_lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with lifespan():
            try:
                yield
            finally:
                await mutations.drain(limits.drain_seconds)

    app = Application(
        token_url,
        examples_on,
        clock,
        RequestGates(
            authenticate,
            Limiter(
                concurrency=limits.concurrency,
                queue=limits.queue,
                wait_seconds=limits.queue_seconds,
            ),
        ),
        dict([CLOCK.given(clock), *services]),
        lambda inner: EdgeMiddleware(inner, mutations, limits.deadline_seconds),
        title=TITLE,
        version=version,
        lifespan=whole_lifespan,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=_operation_id,
        exception_handlers={
            DomainError: on_refusal,
            Refusal: on_refusal,
            RequestValidationError: on_validation,
            HTTPException: on_http_exception,
        },
    )
    for router in routers:
        app.include_router(router)
    app.state.probe = health.Probe(checks)
    app.include_router(health.router)
    app.include_router(docs_router(demo_client))
    for path, mounted in (mounts or {}).items():
        app.mount(path, mounted)
    return app


class Application(FastAPI):
    """FastAPI that dispatches guarded routes itself (decision 0013), with an OpenAPI document that
    describes refusals, how to get a token, and flights that can be sold today.
    """

    def __init__(
        self,
        token_url: str | None,
        examples_on: Callable[[date], Examples] | None,
        clock: Clock,
        gates: RequestGates,
        services: Services,
        edge: Callable[[ASGIApp], ASGIApp],
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.dependency_overrides = NoOverrides()
        self._gates = gates
        self._services = services
        self._edge = edge  # puts the outermost layer around the others
        self._endpoints: dict[int, GuardedEndpoint] = {}  # by the id of a route
        self._token_url = token_url
        self._examples_on = examples_on
        self._clock = clock
        self._document: dict[str, Any] = {}
        self._illustrated_for: date | None = None

    def build_middleware_stack(self) -> ASGIApp:
        """Edge, then middleware that was added, then guarded routes, then FastAPI.

        FastAPI's own outermost layer is left out: it would answer unexpected errors in plain text,
        without a request id. Raises UnsupportedRoute, and so the application does not start.
        """
        check_application(self)
        table = RouteTable(iter_route_contexts(self.routes), self._make_endpoint)
        if not self.user_middleware:
            return self._edge(GuardedDispatch(self._library_stack(), table))
        self.user_middleware.append(Middleware(GuardedDispatch, table))  # the innermost of them
        return self._edge(self._library_stack())

    def endpoint_of(self, route: GuardedRoute) -> GuardedEndpoint:
        """For a request that FastAPI dispatched."""
        assert id(route) in self._endpoints, "the route was added after the application started"
        return self._endpoints[id(route)]

    def _make_endpoint(self, route: GuardedRoute) -> GuardedEndpoint:
        if id(route) not in self._endpoints:
            made = GuardedEndpoint(route, self._gates, self._services, self.exception_handlers)
            self._endpoints[id(route)] = made
        return self._endpoints[id(route)]

    def _library_stack(self) -> ASGIApp:
        library = super().build_middleware_stack()
        assert isinstance(library, ServerErrorMiddleware)
        return library.app

    def openapi(self) -> dict[str, Any]:
        if not self._document:
            self._document = document_of(self, self._token_url)
        today = self._clock().date()
        if self.openapi_schema is None or self._illustrated_for != today:
            examples = self._examples_on(today) if self._examples_on else {}
            self.openapi_schema = with_examples(self._document, examples)
            self._illustrated_for = today
        return self.openapi_schema


def _operation_id(route: APIRoute) -> str:
    return route.name
