"""The undocumented names of FastAPI, Starlette and redis-py that the app uses.

Their versions are capped in pyproject.toml. Before a cap is raised, this test says which names are gone and
which are used without being listed here.
"""

import ast
import dataclasses
import importlib
import inspect
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.datastructures import DefaultPlaceholder
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import request_params_to_args
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from packaging.requirements import Requirement
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.connection import AbstractConnection
from starlette.middleware import Middleware
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

ROOT = Path(__file__).parents[2]
APP = ROOT / "app"
CAPPED = ("fastapi", "redis", "starlette")
IMPORTED = {
    "fastapi._compat": {"ModelField", "lenient_issubclass"},
    "fastapi.dependencies.models": {"Dependant"},
    "fastapi.dependencies.utils": {"request_params_to_args"},
}
"""What is imported from a module with an underscore, or from one that no documentation describes."""
UNDOCUMENTED = ("fastapi._", "fastapi.dependencies", "starlette._", "redis._")
READ = {"_available_connections"}  # of a pool of redis-py
"""Attributes with an underscore that are read from an object of another library."""
DOCUMENTED = {"_exit"}  # os._exit
DEPENDANT = {
    "background_tasks_param_name",
    "body_params",
    "call",
    "cookie_params",
    "dependencies",
    "header_params",
    "http_connection_param_name",
    "name",
    "path_params",
    "query_params",
    "request_param_name",
    "response_param_name",
    "security_scopes_param_name",
    "websocket_param_name",
}
ROUTE = {
    "body_field",
    "dependant",
    "endpoint",
    "max_body_size",
    "methods",
    "param_convertors",
    "path_regex",
    "response_class",
    "response_field",
    "response_model_by_alias",
    "response_model_exclude",
    "response_model_exclude_defaults",
    "response_model_exclude_none",
    "response_model_exclude_unset",
    "response_model_include",
    "status_code",
    "strict_content_type",
}
"""Attributes of `APIRoute`, whose documentation ends with its parameters."""


async def endpoint(number: int) -> int:
    return number


@pytest.fixture(scope="module")
def route() -> APIRoute:
    return APIRoute("/{number}", endpoint)


@pytest.mark.parametrize("package", CAPPED)
def test_the_minor_version_is_capped_and_installed(package: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (declared,) = [one for one in map(Requirement, project["dependencies"]) if one.name == package]
    major, minor = version(package).split(".")[:2]
    assert version(package) in declared.specifier
    assert f"{major}.{int(minor) + 1}" not in declared.specifier


@pytest.mark.parametrize("module", IMPORTED)
def test_imported_names_exist(module: str) -> None:
    assert IMPORTED[module] <= vars(importlib.import_module(module)).keys()


def test_a_dependant_has_the_fields_that_are_read() -> None:
    assert {one.name for one in dataclasses.fields(Dependant)} >= DEPENDANT


def test_a_route_has_the_attributes_that_are_read(route: APIRoute) -> None:
    assert vars(route).keys() >= ROUTE
    assert list(inspect.signature(APIRoute.get_route_handler).parameters) == ["self"]
    assert isinstance(route.response_class, DefaultPlaceholder)
    assert isinstance(route.strict_content_type, DefaultPlaceholder)


def test_a_field_validates_and_serializes(route: APIRoute) -> None:
    (field,) = route.dependant.path_params
    assert (field.name, field.alias) == ("number", "number")
    assert request_params_to_args([field], {"number": "7"}) == ({"number": 7}, [])
    assert field.validate("7", loc=("path",)) == (7, [])
    assert field.field_info.annotation is int
    assert field.field_info.validation_alias is None
    assert route.response_field is not None
    assert route.response_field.serialize_json(7) == b"7"


def test_an_included_route_has_a_context_with_its_whole_path(route: APIRoute) -> None:
    router, app = APIRouter(), FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    router.routes.append(route)
    app.include_router(router, prefix="/whole")
    (context,) = iter_route_contexts(app.routes)
    assert isinstance(context, RouteContext)
    assert context.original_route is route
    assert (context.path, context.methods) == ("/whole/{number}", {"GET"})
    assert context.path_regex.match("/whole/7")
    for name in ROUTE:
        assert hasattr(context, name), name


def test_the_outermost_layer_of_an_application_answers_errors() -> None:
    layer = FastAPI().build_middleware_stack()
    assert isinstance(layer, ServerErrorMiddleware)
    assert callable(layer.app)


def test_added_middleware_is_built_around_the_routes() -> None:
    app, seen = FastAPI(), list[object]()

    class Noted:
        def __init__(self, app: ASGIApp) -> None:
            seen.append(app)

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...

    app.user_middleware.append(Middleware(Noted))
    app.build_middleware_stack()
    assert isinstance(seen[0], ExceptionMiddleware)


def test_a_pool_of_connections_to_redis_has_what_is_read() -> None:
    pool = BlockingConnectionPool()
    assert pool._available_connections == []
    assert pool.connection_class is not None
    assert isinstance(pool.connection_kwargs, dict)
    assert inspect.iscoroutinefunction(pool.update_active_connections_for_reconnect)
    assert "redis_connect_func" in inspect.signature(AbstractConnection.__init__).parameters
    assert "nowait" in inspect.signature(AbstractConnection.disconnect).parameters
    for name in ("connect", "on_connect", "send_command", "read_response"):
        assert inspect.iscoroutinefunction(getattr(AbstractConnection, name)), name
    assert isinstance(AbstractConnection.is_connected, property)


def test_no_other_undocumented_name_is_used() -> None:
    imported: dict[str, set[str]] = {}
    for module, name in _imports():
        if module.startswith(UNDOCUMENTED):
            imported.setdefault(module, set()).add(name)
    assert imported == IMPORTED


def test_no_other_private_attribute_of_a_library_is_read() -> None:
    """An attribute of our own is assigned or defined somewhere in the app."""
    own: set[str] = set()
    read: set[str] = set()
    for tree in _trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
                (own if isinstance(node.ctx, ast.Store) else read).add(node.attr)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                own.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                own.add(node.id)
    foreign = {name for name in read - own if not name.endswith("__")}
    assert foreign - DOCUMENTED == READ


def _trees() -> Iterator[ast.Module]:
    for path in sorted(APP.rglob("*.py")):
        yield ast.parse(path.read_text(encoding="utf-8"))


def _imports() -> Iterator[tuple[str, str]]:
    for tree in _trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                yield from ((node.module, alias.name) for alias in node.names)
