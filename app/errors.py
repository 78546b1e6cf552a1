"""The errors that a client can receive, independent of HTTP.

A `DomainError` carries a kind (how a client should react) and a stable code (what happened). Each
transport translates the kinds in one place; the codes are part of the public contract. An outcome that a
caller must handle in normal operation is a value, not an error; a programmer's mistake is an assertion.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar, Literal


class ErrorKind(Enum):
    """How a client should react."""

    INVALID = "invalid"  # change the request
    UNAUTHENTICATED = "unauthenticated"  # send a valid token
    FORBIDDEN = "forbidden"  # send a token with more scopes
    NOT_FOUND = "not_found"  # does not exist for this tenant
    CONFLICT = "conflict"  # the present state does not allow it
    GONE = "gone"  # it existed and has ended
    EXHAUSTED = "exhausted"  # a budget is used up
    UNAVAILABLE = "unavailable"  # send the same request again later


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing wrong with one place of a request.

    `place` says how to interpret `at`: a JSON pointer into the body (RFC 6901), a query parameter's
    name, or a header's name. `facts` are further members of this entry of the answer.
    """

    place: Literal["pointer", "parameter", "header"]
    at: str
    code: str
    detail: str
    facts: Mapping[str, Any] = field(default_factory=dict)


class DomainError(Exception):
    """Base of every refusal; a subclass fixes `kind`, `code` and `title`.

    `facts` are further members of the answer (JSON values only, never personal data).
    """

    kind: ClassVar[ErrorKind]
    code: ClassVar[str]
    title: ClassVar[str]

    def __init__(
        self,
        detail: str,
        *,
        violations: Sequence[Violation] = (),
        facts: Mapping[str, Any] | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.violations = tuple(violations)
        self.facts = dict(facts or {})
        self.retry_after_seconds = retry_after_seconds


class ValidationFailed(DomainError):
    kind = ErrorKind.INVALID
    code = "validation_error"
    title = "The request is not valid"


class NotFound(DomainError):
    kind = ErrorKind.NOT_FOUND
    code = "not_found"
    title = "Not found"


class DatabaseUnavailable(DomainError):
    kind = ErrorKind.UNAVAILABLE
    code = "database_unavailable"
    title = "The database is unavailable"

    def __init__(
        self,
        detail: str = "The database did not answer in time. No change was left incomplete; retry after 1 second.",
    ) -> None:
        super().__init__(detail, retry_after_seconds=1)


class LockTimedOut(DatabaseUnavailable):
    """Another transaction locked a row for longer than the lock timeout; nothing was changed."""


class HoldStoreUnavailable(DomainError):
    kind = ErrorKind.UNAVAILABLE
    code = "hold_store_unavailable"
    title = "Holds are temporarily unavailable"

    def __init__(
        self,
        detail: str = "Redis is unreachable or being rebuilt; retry with the same Idempotency-Key after 1 second.",
    ) -> None:
        super().__init__(detail, retry_after_seconds=1)


class Overloaded(DomainError):
    kind = ErrorKind.UNAVAILABLE
    code = "overloaded"
    title = "Too many requests at once"

    def __init__(
        self,
        detail: str = "More requests are waiting than can be answered in time; retry after 1 second.",
    ) -> None:
        super().__init__(detail, retry_after_seconds=1)


class IdempotencyKeyReused(DomainError):
    kind = ErrorKind.INVALID
    code = "idempotency_key_reused"
    title = "This Idempotency-Key was used for another request"

    def __init__(self) -> None:
        super().__init__(
            "The key was first sent with a different body; use a new key for a new request."
        )


class IdempotencyInFlight(DomainError):
    kind = ErrorKind.CONFLICT
    code = "idempotency_in_flight"
    title = "The first request with this Idempotency-Key is still running"

    def __init__(self) -> None:
        super().__init__(
            "Retry with the same key after 1 second to get its answer.", retry_after_seconds=1
        )
