"""The table finds the same routes as FastAPI, and no others."""

from itertools import product
from typing import Any, cast

import pytest
from fastapi.routing import RouteContext, iter_route_contexts
from starlette.routing import BaseRoute, Match

from app.identity.principal import Scope
from app.transport.http.pipeline.guarded_route import GuardedEndpoint, ScopedRouter
from app.transport.http.pipeline.route_table import RouteTable

METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD")
VALUES = ("x", "hold_1", "a b", "{}", "{hold_id}", "extend", "", "/", "a/b", "\0", "é")
TEMPLATES = (
    ("GET", "/v1/holds"),
    ("POST", "/v1/holds"),
    ("GET", "/v1/holds/{hold_id}"),
    ("DELETE", "/v1/holds/{hold_id}"),
    ("POST", "/v1/holds/{hold_id}/extend"),
    ("PUT", "/v1/flights/{flight_id}"),
    ("GET", "/v1/flights/{flight_id}/seats/{seat}"),
)


async def nothing() -> None:
    return None


@pytest.fixture(scope="module")
def routes() -> list[RouteContext]:
    router = ScopedRouter(scope=Scope.HOLDS_WRITE)
    for method, template in TEMPLATES:
        router.add_api_route(template, nothing, methods=[method])
    found = list(iter_route_contexts(router.routes))
    assert len(found) == len(TEMPLATES)
    return found


def table_of(routes: list[RouteContext]) -> RouteTable:
    """Each route stands for its own endpoint."""
    return RouteTable(routes, lambda route: cast("GuardedEndpoint", route))


def paths() -> set[str]:
    found = {"", "/", "/v1", "/v1/nowhere", "/v1/holds/"}
    for (_, template), value, other in product(TEMPLATES, VALUES, VALUES[:3]):
        path = template.replace("{hold_id}", value).replace("{flight_id}", value)
        found |= {path.replace("{seat}", other), path.replace("{seat}", other) + "/"}
    return found


def scope_of(method: str, path: str, **more: Any) -> dict[str, Any]:
    return {"type": "http", "method": method, "path": path, "root_path": "", **more}


def by_walk(routes: list[RouteContext], scope: dict[str, Any]) -> tuple[BaseRoute, Any] | None:
    for context in routes:
        match, child = context.original_route.matches(dict(scope))
        if match is Match.FULL:
            return context.original_route, child["path_params"]
    return None


@pytest.mark.parametrize("method", METHODS)
def test_it_finds_what_fastapi_finds(routes: list[RouteContext], method: str) -> None:
    table = table_of(routes)
    seen = 0
    for path in paths():
        scope = scope_of(method, path)
        expected = by_walk(routes, scope)
        found = table.find(scope)
        if expected is None:
            assert found is None, (method, path)
        else:
            assert (cast("BaseRoute", found), scope["path_params"]) == expected, (method, path)
            assert (scope["route"].original_route, scope["endpoint"]) == (found, nothing)
            seen += 1
    assert seen > 0 or method == "HEAD"


def test_requests_below_a_mount_go_on_to_fastapi(routes: list[RouteContext]) -> None:
    assert table_of(routes).find(scope_of("GET", "/v1/holds", root_path="/behind")) is None
