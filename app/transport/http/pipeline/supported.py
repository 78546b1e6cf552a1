"""Which options of FastAPI a guarded route supports. All others fail at start, with a sentence.

Guarded routes are dispatched by this package and not by FastAPI (decision 0013). An option that FastAPI
would honour and this package would ignore is therefore refused: when the route is declared, when it is
included, or when the application starts.
"""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NoReturn

from fastapi import FastAPI, params
from fastapi._compat import ModelField, lenient_issubclass
from fastapi.datastructures import DefaultPlaceholder
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, RouteContext
from pydantic import BaseModel
from starlette.responses import Response

from app.transport.http.pipeline.dependencies import PROVIDED, page
from app.transport.http.pipeline.services import Service

METHODS_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_WHOLE_SEGMENT = re.compile(r"\{[A-Za-z_]\w*\}")
_DEPENDENCIES = "app/transport/http/pipeline/dependencies.py"
_PARAMETERS: Mapping[str, str] = {
    "background_tasks_param_name": "BackgroundTasks, which would not run; use `run_detached` for a change",
    "security_scopes_param_name": "SecurityScopes; the scope of a route is that of its ScopedRouter",
    "websocket_param_name": "a WebSocket",
    "http_connection_param_name": "an HTTPConnection; ask for the Request",
    "cookie_params": "a cookie; callers are known by their token alone",
}
"""Fields of a Dependant, and the parameter that each is about."""


class UnsupportedRoute(Exception):
    """A guarded route uses an option of FastAPI that would have no effect."""


def check_route(route: APIRoute | RouteContext) -> None:
    """Raises UnsupportedRoute. A context includes what the including routers add to the route."""
    for complaint in _complaints(route):
        methods = ", ".join(sorted(route.methods or ()))
        name = getattr(route.endpoint, "__name__", repr(route.endpoint))
        raise UnsupportedRoute(f"{methods} {route.path} ({name}) {complaint}.")


def check_application(app: FastAPI) -> None:
    """Raises UnsupportedRoute for options that apply to all routes."""
    if 500 in app.exception_handlers or Exception in app.exception_handlers:
        raise UnsupportedRoute(
            "A handler for Exception or for status 500 would not be called: EdgeMiddleware answers "
            "unexpected errors. Register handlers for exceptions of your own."
        )


class NoOverrides(dict[Any, Any]):
    """Replaces FastAPI's `dependency_overrides`, which guarded routes do not read."""

    def _refuse(self, *_args: object, **_options: object) -> NoReturn:
        raise UnsupportedRoute(
            "dependency_overrides is not read by guarded routes: give create_app other services."
        )

    __setitem__ = setdefault = update = __ior__ = _refuse


def _complaints(route: APIRoute | RouteContext) -> Iterator[str]:
    yield from _of_endpoint(route)
    yield from _of_path(route)
    yield from _of_parameters(route.dependant)
    yield from _of_body(route)
    yield from _of_answer(route)


def _of_endpoint(route: APIRoute | RouteContext) -> Iterator[str]:
    endpoint: Callable[..., Any] | None = route.endpoint
    if inspect.isasyncgenfunction(endpoint) or inspect.isgeneratorfunction(endpoint):
        yield "yields its answer; return a StreamingResponse"
    elif not inspect.iscoroutinefunction(endpoint):
        yield "is not a coroutine function; declare it with `async def`"


def _of_path(route: APIRoute | RouteContext) -> Iterator[str]:
    for segment in (route.path or "").split("/"):
        if "{" in segment and not _WHOLE_SEGMENT.fullmatch(segment):
            yield f"has the segment {segment!r}; a parameter is one whole segment, `{{name}}`"
    original = route.original_route if isinstance(route, RouteContext) else route
    assert isinstance(original, APIRoute)
    if route.param_convertors.keys() != original.param_convertors.keys():
        yield "is included with a prefix that has a parameter"


def _of_parameters(dependant: Dependant) -> Iterator[str]:
    for field, what in _PARAMETERS.items():
        if getattr(dependant, field):
            yield f"asks for {what}"
    for inner in dependant.dependencies:
        if inner.name is None:
            yield "has `dependencies=[…]`, which would not be called"
        elif isinstance(inner.call, Service):
            continue
        elif inner.call is not page and inner.call not in PROVIDED:
            called = getattr(inner.call, "__name__", repr(inner.call))
            yield f"depends on {called}, which would not be called; {_DEPENDENCIES} has what can be"
    queries = [*dependant.query_params, *_queries_of_page(dependant)]
    if any(map(_has_other_names, queries)):
        yield "describes its query by a model or by a validation alias"
    if len({field.alias for field in queries}) < len(queries):
        yield "reads one parameter of the query twice"


def _of_body(route: APIRoute | RouteContext) -> Iterator[str]:
    bodies = route.dependant.body_params
    if not bodies:
        return
    if METHODS_WITH_BODY.isdisjoint(route.methods or ()):
        yield "has a body, which is not read for this method"
    if any(isinstance(field.field_info, params.Form) for field in bodies):
        yield "takes a form; bodies are JSON"
    elif route.body_field is not bodies[0]:
        yield "has several bodies, or an embedded one; describe the body by one model"
    if is_set(route.strict_content_type) and not route.strict_content_type:
        yield "has `strict_content_type=False`; a body always needs its media type"


def _of_answer(route: APIRoute | RouteContext) -> Iterator[str]:
    if route.max_body_size is not None:
        yield "has `max_body_size`; BODY_MAX is the limit of every body"
    signature = inspect.signature(route.endpoint) if route.endpoint else inspect.Signature()
    if route.response_field is not None and is_set(route.response_class):
        yield "has a response class, which would not render its answer; return a Response"
    elif (
        route.response_field is None
        and signature.return_annotation is inspect.Signature.empty
        and not lenient_issubclass(route.response_class, Response)
    ):
        yield "has neither a return annotation nor a response_model, so its answer would be empty"


def is_set(option: object) -> bool:
    """Whether the option was set: FastAPI wraps its defaults."""
    return not isinstance(option, DefaultPlaceholder)


def _queries_of_page(dependant: Dependant) -> Iterator[ModelField]:
    for inner in dependant.dependencies:
        if inner.call is page:
            yield from inner.query_params


def _has_other_names(field: ModelField) -> bool:
    """Whether its values have other names in the query, as those of a model have."""
    is_model = lenient_issubclass(field.field_info.annotation, BaseModel)
    return is_model or field.field_info.validation_alias not in (None, field.alias)
