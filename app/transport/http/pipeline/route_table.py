"""Finds the guarded endpoint of a method and a path by one look-up.

FastAPI tries one route after the other, through every included router. Here a template without parameters is
found by its text, and one with parameters by its segments, with None for each parameter. A request that the
table does not find goes on to FastAPI: for 404, for 405 and for routes that are not guarded.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from fastapi.routing import RouteContext
from starlette.types import ASGIApp, Receive, Scope, Send

from app.transport.http.pipeline.guarded_route import GuardedEndpoint, GuardedRoute
from app.transport.http.pipeline.supported import UnsupportedRoute, check_route

_Segments = tuple[str | None, ...]
"""The segments of a path; None for a parameter."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """A route as it is included (its context has the whole path), and its endpoint."""

    route: RouteContext
    endpoint: GuardedEndpoint


class RouteTable:
    def __init__(
        self,
        routes: Iterable[RouteContext],
        endpoint_of: Callable[[GuardedRoute], GuardedEndpoint],
    ) -> None:
        """`routes` are all of an application, in the order in which FastAPI tries them. Raises
        UnsupportedRoute where the table would find another one than FastAPI.
        """
        self._plain: dict[tuple[str, str], _Entry] = {}
        self._templates: dict[tuple[str, _Segments], tuple[_Entry, tuple[str, ...]]] = {}
        self._shapes: dict[int, list[tuple[int, ...]]] = {}  # by length: the indexes of parameters
        earlier: list[RouteContext] = []
        for route in routes:
            original = route.original_route
            if isinstance(original, GuardedRoute):
                check_route(route)
                for other in earlier:
                    _check_order(other, route)
                self._add(_Entry(route, endpoint_of(original)))
            earlier.append(route)

    def find(self, scope: Scope) -> GuardedEndpoint | None:
        """Sets in the scope what FastAPI would: the route, the endpoint and the path parameters."""
        if scope.get("root_path"):
            return None
        parameters: dict[str, str] = {}
        entry = self._plain.get((scope["method"], scope["path"]))
        if entry is None:
            found = self._with_parameters(scope["method"], scope["path"])
            if found is None:
                return None
            entry, parameters = found
        scope["route"] = entry.route
        scope["endpoint"] = entry.route.endpoint
        scope["path_params"] = parameters
        return entry.endpoint

    def _add(self, entry: _Entry) -> None:
        path = entry.route.path or ""
        segments = path.split("/")
        holes = _shape(segments)
        names = tuple(segments[at].strip("{}") for at in holes)
        for method in entry.route.methods or ():
            if holes:
                self._templates.setdefault((method, _with_holes(segments, holes)), (entry, names))
            else:
                self._plain.setdefault((method, path), entry)
        shapes = self._shapes.setdefault(len(segments), [])
        if holes and holes not in shapes:
            shapes.append(holes)

    def _with_parameters(self, method: str, path: str) -> tuple[_Entry, dict[str, str]] | None:
        segments = path.split("/")
        for holes in self._shapes.get(len(segments), ()):
            if all(segments[at] for at in holes):
                found = self._templates.get((method, _with_holes(segments, holes)))
                if found is not None:
                    entry, names = found
                    given = (segments[at] for at in holes)
                    return entry, dict(zip(names, given, strict=True))
        return None


class GuardedDispatch:
    """ASGI middleware: serves requests that the table finds, and passes on all others."""

    def __init__(self, app: ASGIApp, table: RouteTable) -> None:
        self._app = app
        self._table = table

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._table.find(scope) if scope["type"] == "http" else None
        if endpoint is not None:
            await endpoint.serve(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _check_order(earlier: RouteContext, later: RouteContext) -> None:
    """FastAPI gives a request to the first route that matches; the table prefers guarded routes, and
    among them those without parameters.
    """
    if earlier.methods is not None and earlier.methods.isdisjoint(later.methods or ()):
        return
    ours, theirs = _segments(earlier), _segments(later)
    if isinstance(earlier.original_route, GuardedRoute):
        is_found = _shape(ours) in ((), _shape(theirs))
        hides = _overlap(ours, theirs) and not is_found
    else:
        pattern = getattr(earlier, "path_regex", None)
        hides = _overlap(ours, theirs) or bool(pattern and pattern.match(later.path))
    if hides:
        raise UnsupportedRoute(
            f"{earlier.path} is declared before {later.path} and matches some of the same paths; "
            f"declare {later.path} first, or change one of them."
        )


def _segments(route: RouteContext) -> list[str]:
    return (route.path or "").split("/")


def _shape(segments: Sequence[str]) -> tuple[int, ...]:
    """The indexes of parameters."""
    return tuple(at for at, one in enumerate(segments) if one.startswith("{"))


def _overlap(ours: Sequence[str], theirs: Sequence[str]) -> bool:
    """Whether some path matches both templates."""
    return len(ours) == len(theirs) and all(
        a == b or a.startswith("{") or b.startswith("{") for a, b in zip(ours, theirs, strict=True)
    )


def _with_holes(segments: Sequence[str], holes: Collection[int]) -> _Segments:
    return tuple(None if at in holes else one for at, one in enumerate(segments))
