"""The arguments of an endpoint, by FastAPI's own reading of its signature.

FastAPI reads a signature once and then works through it for every request: exit stacks, a cache of
dependencies, a thread for sync ones. Endpoints here need none of that, since `dependencies` and
`services` have all that they may depend on. What remains are parameters and a body. They are validated by
FastAPI's fields, so that a route and its document cannot differ.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from fastapi._compat import ModelField
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import request_params_to_args
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from app.transport.http.pipeline.dependencies import PROVIDED, Provided, page
from app.transport.http.pipeline.services import Service

CACHED_MAX: Final = 2048  # queries of a route, and values of one parameter
CACHED_BYTES_MAX: Final = 256  # a longer query has a cursor, and is not repeated

K = TypeVar("K")
V = TypeVar("V")
Services = Mapping[Service[Any], Any]
_Found = tuple[dict[str, Any], list[Any]]


class MissingService(Exception):
    """A service that `create_app` was not given."""


class Arguments:
    """Computes the arguments of one endpoint; created once for each application."""

    def __init__(
        self,
        dependant: Dependant,
        body: ModelField | None,
        services: Services,
        *,
        caches_queries: bool,
    ) -> None:
        """`caches_queries`: queries contain nothing personal, and are often repeated. Raises
        MissingService.
        """
        self._dependant = dependant
        self._body = body
        self._services: dict[str, Any] = {}  # by the name of a parameter, the same for all requests
        self._provided: list[tuple[str, Provided]] = []
        self._page: tuple[str, Dependant] | None = None
        self._caches = caches_queries
        self._queries: dict[bytes, Mapping[str, Any]] = {}  # by query string
        self._values: dict[str, dict[tuple[str, ...], Any]] = {}  # by parameter, then by its text
        for inner in dependant.dependencies:
            assert inner.name is not None, "check_route refuses such dependencies"
            if inner.call is page:
                self._page = (inner.name, inner)
            elif isinstance(inner.call, Service):
                if inner.call not in services:
                    raise MissingService(inner.call.name)
                self._services[inner.name] = services[inner.call]
            else:
                self._provided.append((inner.name, PROVIDED[inner.call]))

    @property
    def takes_response(self) -> bool:
        """Whether the endpoint sets a status or headers."""
        return self._dependant.response_param_name is not None

    def of(self, request: Request, given: Any, response: Response | None) -> Mapping[str, Any]:
        """`given` is the parsed body. Raises RequestValidationError with every error."""
        dependant = self._dependant
        values = self._services.copy()
        for name, provide in self._provided:
            values[name] = provide(request)
        errors: list[Any] = []
        if self._page is not None or dependant.query_params:
            from_query, errors = self._of_query(request)
            values.update(from_query)
        for fields, received in (
            (dependant.path_params, request.path_params),
            (dependant.header_params, request.headers if dependant.header_params else {}),
        ):
            if fields:
                found, wrong = request_params_to_args(fields, received)
                values.update(found)
                errors += wrong
        if self._body is not None:
            values[self._body.name], wrong = self._body.validate(given, loc=("body",))
            errors += wrong
        if errors:
            raise RequestValidationError(errors, body=given)
        if dependant.request_param_name:
            values[dependant.request_param_name] = request
        if dependant.response_param_name:
            values[dependant.response_param_name] = response
        return values

    def _of_query(self, request: Request) -> tuple[Mapping[str, Any], list[Any]]:
        """A valid query string is validated once; its values are immutable."""
        text: bytes = request.scope["query_string"]
        known = self._queries.get(text)
        if known is not None:
            return known, []
        values, errors = self._of_parameters(self._dependant.query_params, request.query_params)
        if self._page is not None:
            name, inner = self._page
            found, wrong = self._of_parameters(inner.query_params, request.query_params)
            errors = wrong + errors
            if not wrong:
                values[name] = page(**found)
        if self._caches and not errors and len(text) <= CACHED_BYTES_MAX:
            _cache(self._queries, text, values)
        return values, errors

    def _of_parameters(self, fields: Sequence[ModelField], received: QueryParams) -> _Found:
        """Field by field, since queries share most of their values."""
        if not self._caches:
            return request_params_to_args(fields, received) if fields else ({}, [])
        values: dict[str, Any] = {}
        errors: list[Any] = []
        for field in fields:
            given = tuple(received.getlist(field.alias))
            known = self._values.setdefault(field.alias, {})
            if given in known:
                values[field.name] = known[given]
                continue
            found, wrong = request_params_to_args([field], received)
            values.update(found)
            errors += wrong
            if not wrong and len(given) <= 1 and len("".join(given)) <= CACHED_BYTES_MAX:
                _cache(known, given, found[field.name])
        return values, errors


def _cache(cache: dict[K, V], key: K, value: V) -> None:
    if len(cache) >= CACHED_MAX:
        cache.clear()
    cache[key] = value
