"""Puts the HTTP application together from what wiring hands in; decides nothing itself."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.types import ASGIApp

from app.errors import DomainError
from app.identity.principal import Scope
from app.transport.http.admission import Admission
from app.transport.http.guard import Authenticate, Rim
from app.transport.http.middleware import Bounded, Identified, Observed
from app.transport.http.outlive import Mutations
from app.transport.http.problems import Refusal, on_http_exception, on_refusal, on_validation
from app.transport.http.routers.health import Check, health_router
from app.transport.http.schemas import Problem

TITLE = "Holdfast"
SUMMARY = "Seats on flights: search, hold, book, tell the world."
_REF = "#/components/schemas/{model}"
_SCOPES: Mapping[Scope, str] = {
    Scope.OFFERS_READ: "Search, prices and availability",
    Scope.HOLDS_WRITE: "Hold seats and let them go",
    Scope.BOOKINGS_WRITE: "Book, read and cancel bookings",
    Scope.EVENTS_READ: "Read the tenant's events",
    Scope.INVENTORY_ADMIN: "Flights and their limits",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """The deadline is longer than the 5 s that a second request with the same Idempotency-Key may
    wait for the first, so that it ends with its own answer; and than the queue, so that who waited
    in a burst has time left for the work itself.
    """

    concurrency: int = 64
    queue: int = 512
    queue_seconds: float = 4.0
    deadline_seconds: float = 6.0
    drain_seconds: float = 10.0


def create_app(
    *,
    services: object = None,
    authenticate: Authenticate,
    routers: Sequence[APIRouter],
    checks: Mapping[str, Check],
    version: str,
    mounts: Mapping[str, ASGIApp] | None = None,
    lifespan: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
    token_url: str | None = None,
    limits: Limits = Limits(),
) -> "Application":
    """`services` is what the routers expect in `app.state.services`; `lifespan` encloses all
    requests and every change that outlives one; `token_url` is for the docs page's Authorize.
    """
    mutations = Mutations()

    @asynccontextmanager
    async def whole_life(_app: FastAPI) -> AsyncIterator[None]:
        async with lifespan():
            try:
                yield
            finally:
                await mutations.drain(limits.drain_seconds)

    app = Application(
        token_url,
        title=TITLE,
        summary=SUMMARY,
        version=version,
        lifespan=whole_life,
        redirect_slashes=False,
        redoc_url=None,
        generate_unique_id_function=_operation_id,
        swagger_ui_parameters={"persistAuthorization": True},
        exception_handlers={
            DomainError: on_refusal,
            Refusal: on_refusal,
            RequestValidationError: on_validation,
            HTTPException: on_http_exception,
        },
        middleware=[
            Middleware(Identified, mutations=mutations),
            Middleware(Observed),
            Middleware(Bounded, deadline_seconds=limits.deadline_seconds),
        ],
    )
    app.state.services = services
    app.state.rim = Rim(
        authenticate,
        Admission(
            concurrency=limits.concurrency, queue=limits.queue, wait_seconds=limits.queue_seconds
        ),
    )
    app.include_router(health_router(checks))
    for router in routers:
        app.include_router(router)
    for path, mounted in (mounts or {}).items():
        app.mount(path, mounted)
    return app


class Application(FastAPI):
    """FastAPI, with an OpenAPI document that tells of refusals and of how to get a token."""

    def __init__(self, token_url: str | None, **options: Any) -> None:
        super().__init__(**options)
        self._token_url = token_url

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            document = get_openapi(
                title=self.title,
                summary=self.summary,
                version=self.version,
                routes=self.routes,
            )
            components = document.setdefault("components", {})
            schemas = components.setdefault("schemas", {})
            problem = Problem.model_json_schema(mode="serialization", ref_template=_REF)
            schemas.update(problem.pop("$defs", {}))
            schemas["Problem"] = problem
            components["securitySchemes"] = _security_schemes(self._token_url)
            if self._token_url is None:
                _without_oauth2(document)
            self.openapi_schema = document
        return self.openapi_schema


def _security_schemes(token_url: str | None) -> dict[str, Any]:
    schemes: dict[str, Any] = {
        "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    }
    if token_url is not None:
        scopes = {scope.value: text for scope, text in _SCOPES.items()}
        flow = {"tokenUrl": token_url, "scopes": scopes}
        schemes["oauth2"] = {"type": "oauth2", "flows": {"clientCredentials": flow}}
    return schemes


def _without_oauth2(document: dict[str, Any]) -> None:
    for path in document["paths"].values():
        for operation in path.values():
            if "security" in operation:
                operation["security"] = [s for s in operation["security"] if "oauth2" not in s]


def _operation_id(route: APIRoute) -> str:
    return route.name
