"""Renders every refusal as an RFC 9457 problem, and owns the table from `ErrorKind` to status.

`type` refers to the page of all problems, `/docs/problems#<code>`; clients decide by `code`. A detail never
repeats what the client sent, since values may be personal.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, ClassVar
from urllib.parse import quote

import structlog
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope as AsgiScope

from app.errors import DomainError, ErrorKind, NotFound, ValidationFailed, Violation
from app.transport.http.context import context_of
from app.transport.http.problems.violations import violations_of

STATUS: Mapping[ErrorKind, int] = {
    ErrorKind.INVALID: 422,
    ErrorKind.UNAUTHENTICATED: 401,
    ErrorKind.FORBIDDEN: 403,
    ErrorKind.NOT_FOUND: 404,
    ErrorKind.CONFLICT: 409,
    ErrorKind.GONE: 410,
    ErrorKind.EXHAUSTED: 429,
    ErrorKind.UNAVAILABLE: 503,
}
MEDIA_TYPE = "application/problem+json"
UNTYPED = "http_error"
"""The code of a problem that means no more than its status; its type is `about:blank`."""
_RETRYABLE_CODES = frozenset({"idempotency_in_flight"})
_INSTANCE_MAX = 1024  # characters of a path that are repeated
_PLAIN_PATH = re.compile(r"[A-Za-z0-9/_-]{1,256}")
_json = json.JSONEncoder(separators=(",", ":")).encode
_CHALLENGE = 'Bearer realm="holdfast"'

_log = structlog.get_logger()


class Refusal(Exception):
    """A refusal that exists only in HTTP. Subclasses define `status`, `code` and `title`."""

    status: ClassVar[int]
    code: ClassVar[str]
    title: ClassVar[str]

    def __init__(
        self,
        detail: str,
        *,
        violations: Sequence[Violation] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.violations = tuple(violations)
        self.headers = dict(headers or {})


class MalformedJson(Refusal):
    status = 400
    code = "malformed_json"
    title = "The body is not valid JSON"


class IdempotencyKeyMissing(Refusal):
    status = 400
    code = "idempotency_key_missing"
    title = "The Idempotency-Key is missing or invalid"


class MethodNotAllowed(Refusal):
    status = 405
    code = "method_not_allowed"
    title = "The method is not allowed"


class BodyTooLarge(Refusal):
    status = 413
    code = "body_too_large"
    title = "The body is too large"


class UnsupportedMediaType(Refusal):
    status = 415
    code = "unsupported_media_type"
    title = "The body must be JSON"


class InternalError(Refusal):
    status = 500
    code = "internal_error"
    title = "Internal error"

    def __init__(self) -> None:
        super().__init__("The error is logged under this request id. No change is left half done.")


@dataclass(frozen=True, slots=True)
class Problem:
    """The content of a refusal, before it is rendered."""

    status: int
    code: str
    title: str
    detail: str
    violations: Sequence[Violation] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    retry_after_seconds: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def retryable(self) -> bool:
        return is_retryable(self.status, self.code)


def is_retryable(status: int, code: str) -> bool:
    """Whether the same request may succeed later."""
    return status in (429, 503) or code in _RETRYABLE_CODES


def problem_of(error: DomainError | Refusal) -> Problem:
    if isinstance(error, Refusal):
        return Problem(
            error.status,
            error.code,
            error.title,
            error.detail,
            error.violations,
            headers=error.headers,
        )
    status = STATUS[error.kind]
    headers: dict[str, str] = {}
    if error.kind is ErrorKind.UNAUTHENTICATED:
        headers["WWW-Authenticate"] = _CHALLENGE
    elif error.kind is ErrorKind.FORBIDDEN:
        headers["WWW-Authenticate"] = f'{_CHALLENGE}, error="insufficient_scope"'
    return Problem(
        status,
        error.code,
        error.title,
        error.detail,
        error.violations,
        error.facts,
        error.retry_after_seconds,
        headers,
    )


def problem_members(problem: Problem, path: str, request_id: str) -> dict[str, Any]:
    """The members of the answer, in the contract's order."""
    members: dict[str, Any] = {
        "type": "about:blank" if problem.code == UNTYPED else f"/docs/problems#{problem.code}",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "instance": _instance(path),
        "code": problem.code,
        "request_id": request_id,
        "retryable": problem.retryable,
    }
    if problem.retry_after_seconds is not None:
        members["retry_after_seconds"] = problem.retry_after_seconds
    if problem.violations:
        members["errors"] = [_entry(violation) for violation in problem.violations]
    return {**problem.facts, **members}  # a fact never replaces a member of the shape


def problem_response(scope: AsgiScope, problem: Problem) -> Response:
    """Renders the answer, and leaves the code for the access log."""
    context = context_of(scope)
    context.code = problem.code
    headers = dict(problem.headers)
    if problem.retry_after_seconds is not None:
        headers["Retry-After"] = str(problem.retry_after_seconds)
    return Response(
        _json(problem_members(problem, scope["path"], context.request_id)),  # escaped to ASCII
        status_code=problem.status,
        headers=headers,
        media_type=MEDIA_TYPE,
    )


def _instance(path: str) -> str:
    if _PLAIN_PATH.fullmatch(path):
        return path
    return quote(path, safe="/:@!$&'()*+,;=-._~")[:_INSTANCE_MAX]


def internal_error(scope: AsgiScope, error: Exception) -> Response:
    """For unexpected errors: the traceback is logged, the answer does not contain it."""
    _log.error("unexpected_error", exc_info=error)
    return problem_response(scope, problem_of(InternalError()))


async def on_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, DomainError | Refusal)
    return problem_response(request.scope, problem_of(error))


async def on_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    refusal = ValidationFailed(
        "Some members or parameters are invalid; see errors.",
        violations=violations_of(error.errors(), error.body),
    )
    return problem_response(request.scope, problem_of(refusal))


async def on_http_exception(request: Request, error: Exception) -> Response:
    """For FastAPI's exception: its router raises it for 404 and 405, and an endpoint may."""
    assert isinstance(error, HTTPException)
    phrase = HTTPStatus(error.status_code).phrase
    given: object = error.detail  # FastAPI's exception takes any JSON
    detail = given if isinstance(given, str) else _json(given)
    headers = dict(error.headers or {})
    if error.status_code == 404:
        text = "No route has this path." if detail == phrase else detail
        problem = Problem(404, NotFound.code, NotFound.title, text, headers=headers)
    elif error.status_code == 405:
        allowed = ", ".join(sorted(_methods_of(request))) or headers.get("Allow", "")
        problem = problem_of(
            MethodNotAllowed(f"This path allows {allowed}.", headers={"Allow": allowed})
        )
    else:
        problem = Problem(error.status_code, UNTYPED, phrase, detail, headers=headers)
    return problem_response(request.scope, problem)


def _entry(violation: Violation) -> dict[str, Any]:
    return {
        **violation.facts,
        violation.place: violation.at,
        "code": violation.code,
        "detail": violation.detail,
    }


def _methods_of(request: Request) -> Iterator[str]:
    path = request.scope["path"]
    for route in iter_route_contexts(request.app.routes):
        pattern = getattr(route, "path_regex", None)
        if pattern is not None and pattern.match(path):
            yield from route.methods or ()
