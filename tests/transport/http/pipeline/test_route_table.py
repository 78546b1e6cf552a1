"""What the table finds is what the library's own walk would have found, and nothing more."""

from itertools import product
from typing import Any

import pytest
from fastapi.routing import APIRoute
from starlette.routing import Match

from app.identity.principal import Scope
from app.transport.http.pipeline.guarded_route import GuardedRoute, ScopedRouter
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
def routes() -> list[GuardedRoute]:
    router = ScopedRouter(scope=Scope.HOLDS_WRITE)
    for method, template in TEMPLATES:
        router.add_api_route(template, nothing, methods=[method])
    found = [route for route in router.routes if isinstance(route, GuardedRoute)]
    assert len(found) == len(TEMPLATES)
    return found


def paths() -> set[str]:
    told = {"", "/", "/v1", "/v1/nowhere", "/v1/holds/"}
    for (_, template), value, other in product(TEMPLATES, VALUES, VALUES[:3]):
        path = template.replace("{hold_id}", value).replace("{flight_id}", value)
        told |= {path.replace("{seat}", other), path.replace("{seat}", other) + "/"}
    return told


def scope_of(method: str, path: str, **more: Any) -> dict[str, Any]:
    return {"type": "http", "method": method, "path": path, "root_path": "", **more}


def by_walk(routes: list[GuardedRoute], scope: dict[str, Any]) -> tuple[APIRoute, Any] | None:
    for route in routes:
        match, child = route.matches(dict(scope))
        if match is Match.FULL:
            return route, child["path_params"]
    return None


@pytest.mark.parametrize("method", METHODS)
def test_it_finds_what_a_walk_finds(routes: list[GuardedRoute], method: str) -> None:
    table = RouteTable(routes)
    seen = 0
    for path in paths():
        scope = scope_of(method, path)
        expected = by_walk(routes, scope)
        found = table.find(scope)
        if expected is None:
            assert found is None, (method, path)
        else:
            assert (found, scope["path_params"]) == expected, (method, path)
            assert (scope["route"], scope["endpoint"]) == (found, nothing)
            seen += 1
    assert seen > 0 or method == "HEAD"


def test_below_a_mount_the_library_finds_the_way(routes: list[GuardedRoute]) -> None:
    assert RouteTable(routes).find(scope_of("GET", "/v1/holds", root_path="/behind")) is None
