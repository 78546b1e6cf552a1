"""What an endpoint is called with, by FastAPI's own reading of its signature.

FastAPI reads a signature once, for its documents and for itself, and then works through it anew with
every request: exit stacks, a cache of dependencies, a thread for what may block. Endpoints here need none
of that, since all that they may depend on stands in `dependencies`; what is left is parameters, a body and
what the guard has found out. Values are judged by FastAPI's fields, so that a document and its route
cannot differ.
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

KNOWN_MAX: Final = 2048  # queries of a route, and values of one parameter
KNOWN_BYTES_MAX: Final = 256  # longer ones carry a cursor, and are asked once

K = TypeVar("K")
V = TypeVar("V")
Services = Mapping[Service[Any], Any]
_Found = tuple[dict[str, Any], list[Any]]


class MissingService(Exception):
    """A service that `create_app` was not given."""


class Arguments:
    """Of one route; made once."""

    def __init__(
        self,
        dependant: Dependant,
        body: ModelField | None,
        services: Services,
        *,
        keeps_queries: bool,
    ) -> None:
        """`keeps_queries`: what is asked for holds nothing personal, and is asked for again. Raises
        MissingService.
        """
        self._dependant = dependant
        self._body = body
        self._services: dict[str, Any] = {}  # by the name of a parameter, the same for all requests
        self._provided: list[tuple[str, Provided]] = []
        self._page: tuple[str, Dependant] | None = None
        self._keeps = keeps_queries
        self._known: dict[bytes, Mapping[str, Any]] = {}  # by the text of a query
        self._values: dict[str, dict[tuple[str, ...], Any]] = {}  # by parameter, as it was received
        for inner in dependant.dependencies:
            assert inner.name is not None, "check_route has seen it"
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
        """To set a status or headers on."""
        return self._dependant.response_param_name is not None

    def of(self, request: Request, given: Any, response: Response | None) -> Mapping[str, Any]:
        """`given` is the parsed body. Raises RequestValidationError, with all that is wrong."""
        dependant = self._dependant
        values = self._services.copy()
        for name, provide in self._provided:
            values[name] = provide(request)
        errors: list[Any] = []
        if self._page is not None or dependant.query_params:
            asked, errors = self._of_query(request)
            values.update(asked)
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
        """A query that was good is not read again: its values are its text's, and nobody changes them."""
        text: bytes = request.scope["query_string"]
        known = self._known.get(text)
        if known is not None:
            return known, []
        values, errors = self._of_parameters(self._dependant.query_params, request.query_params)
        if self._page is not None:
            name, inner = self._page
            found, wrong = self._of_parameters(inner.query_params, request.query_params)
            errors = wrong + errors
            if not wrong:
                values[name] = page(**found)
        if self._keeps and not errors and len(text) <= KNOWN_BYTES_MAX:
            _keep(self._known, text, values)
        return values, errors

    def _of_parameters(self, fields: Sequence[ModelField], received: QueryParams) -> _Found:
        """Field by field, as other queries have most of the same values."""
        if not self._keeps:
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
            if not wrong and len(given) <= 1 and len("".join(given)) <= KNOWN_BYTES_MAX:
                _keep(known, given, found[field.name])
        return values, errors


def _keep(known: dict[K, V], key: K, value: V) -> None:
    if len(known) >= KNOWN_MAX:
        known.clear()
    known[key] = value
