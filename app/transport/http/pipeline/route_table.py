"""The way from a method and a path to the route that has them: one look-up instead of a walk.

The library tries one route after the other, through every router it included. Here a template without
parameters is found by its text, one with parameters by its steps with holes in their places. What is not
found is left to the library, which knows about 404, 405 and everything that is no guarded route.
"""

from collections.abc import Collection, Iterable, Sequence

from starlette.types import Scope

from app.transport.http.pipeline.guarded_route import GuardedRoute

_Steps = tuple[str | None, ...]
"""A path between its slashes; None where a parameter stands."""


class RouteTable:
    def __init__(self, routes: Iterable[GuardedRoute]) -> None:
        self._plain: dict[tuple[str, str], GuardedRoute] = {}
        self._holed: dict[tuple[str, _Steps], tuple[GuardedRoute, tuple[str, ...]]] = {}
        self._shapes: dict[int, list[tuple[int, ...]]] = {}  # by steps: where parameters stand
        for route in routes:
            steps = route.path.split("/")
            holes = tuple(at for at, step in enumerate(steps) if step.startswith("{"))
            for method in route.methods or ():
                if holes:
                    names = tuple(steps[at].strip("{}") for at in holes)
                    self._holed[method, _with_holes(steps, holes)] = (route, names)
                else:
                    self._plain[method, route.path] = route
            shapes = self._shapes.setdefault(len(steps), [])
            if holes and holes not in shapes:
                shapes.append(holes)

    def find(self, scope: Scope) -> GuardedRoute | None:
        """Leaves in the scope what the library would: the route and the parameters of its path."""
        if scope.get("root_path"):
            return None
        parameters: dict[str, str] = {}
        route = self._plain.get((scope["method"], scope["path"]))
        if route is None:
            found = self._with_parameters(scope["method"], scope["path"])
            if found is None:
                return None
            route, parameters = found
        scope["route"] = route
        scope["endpoint"] = route.endpoint
        scope["path_params"] = parameters
        return route

    def _with_parameters(
        self, method: str, path: str
    ) -> tuple[GuardedRoute, dict[str, str]] | None:
        steps = path.split("/")
        for holes in self._shapes.get(len(steps), ()):
            if all(steps[at] for at in holes):
                found = self._holed.get((method, _with_holes(steps, holes)))
                if found is not None:
                    route, names = found
                    return route, {name: steps[at] for name, at in zip(names, holes, strict=True)}
        return None


def _with_holes(steps: Sequence[str], holes: Collection[int]) -> _Steps:
    return tuple(None if at in holes else step for at, step in enumerate(steps))
