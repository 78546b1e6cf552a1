"""What an endpoint is called with, by FastAPI's own reading of its signature.

FastAPI reads a signature once, for its documents and for itself, and then works through it anew with
every request: exit stacks, a cache of dependencies, a thread for what may block. Endpoints here need none
of that, since all that they may depend on stands in `dependencies`; what is left is parameters, a body and
what the guard has found out. Values are judged by FastAPI's fields, so that a document and its route
cannot differ.
"""

from collections.abc import Mapping
from typing import Any

from fastapi._compat import ModelField
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import request_params_to_args
from fastapi.exceptions import RequestValidationError
from starlette.requests import Request
from starlette.responses import Response

from app.transport.http.dependencies import PROVIDED, Provided, page


class Arguments:
    """Of one route; made once."""

    def __init__(self, dependant: Dependant, body: ModelField | None) -> None:
        foreign = (
            dependant.cookie_params,
            dependant.background_tasks_param_name,
            dependant.security_scopes_param_name,
        )
        assert not any(foreign), "no endpoint here has such parameters"
        self._dependant = dependant
        self._body = body
        self._provided: list[tuple[str, Provided]] = []
        self._page: tuple[str, Dependant] | None = None
        for inner in dependant.dependencies:
            assert inner.name is not None, "what nobody is handed nobody needs"
            if inner.call is page:
                self._page = (inner.name, inner)
            else:
                assert inner.call in PROVIDED, f"{inner.call} is not one of dependencies"
                self._provided.append((inner.name, PROVIDED[inner.call]))

    @property
    def takes_response(self) -> bool:
        """To set a status or headers on."""
        return self._dependant.response_param_name is not None

    def of(self, request: Request, given: Any, response: Response | None) -> Mapping[str, Any]:
        """`given` is the parsed body. Raises RequestValidationError, with all that is wrong."""
        dependant = self._dependant
        values: dict[str, Any] = {name: provide(request) for name, provide in self._provided}
        errors: list[Any] = []
        if self._page is not None:
            name, inner = self._page
            found, errors = request_params_to_args(inner.query_params, request.query_params)
            if not errors:
                values[name] = page(**found)
        for fields, received in (
            (dependant.path_params, request.path_params),
            (dependant.query_params, request.query_params if dependant.query_params else {}),
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
