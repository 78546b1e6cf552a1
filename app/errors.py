"""What can be refused, without a word about HTTP.

A `DomainError` carries a kind (how a client should react) and a stable code (what happened). The
kinds are translated once per transport; the codes are part of the public contract. An outcome that
a caller must handle on its normal way is a value, not an error; a programmer's mistake is an
assertion.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar, Literal


class ErrorKind(Enum):
    """How a client should react."""

    INVALID = "invalid"  # change the request
    UNAUTHENTICATED = "unauthenticated"  # bring a token
    FORBIDDEN = "forbidden"  # bring a token with more scope
    NOT_FOUND = "not_found"  # nothing there, for this tenant
    CONFLICT = "conflict"  # the state of things speaks against it
    GONE = "gone"  # it was there, and has ended
    EXHAUSTED = "exhausted"  # a budget is used up
    UNAVAILABLE = "unavailable"  # try the same again later


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing wrong with one place of a request.

    `place` says how to read `at`: a JSON pointer into the body (RFC 6901), a query parameter's
    name, or a header's name. `facts` are further members of the entry in the answer.
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
    title = "The request does not fit its description"


class NotFound(DomainError):
    kind = ErrorKind.NOT_FOUND
    code = "not_found"
    title = "Nothing here"


class DatabaseUnavailable(DomainError):
    kind = ErrorKind.UNAVAILABLE
    code = "database_unavailable"
    title = "The database is away"

    def __init__(
        self, detail: str = "The database did not answer in time; nothing was half done."
    ) -> None:
        super().__init__(detail, retry_after_seconds=1)


class LockTimedOut(DatabaseUnavailable):
    """Another transaction kept a row for longer than we wait; nothing was done."""


class HoldStoreUnavailable(DomainError):
    kind = ErrorKind.UNAVAILABLE
    code = "hold_store_unavailable"
    title = "Holds are not being taken just now"

    def __init__(
        self,
        detail: str = "The hold store is away or being rebuilt; retry with the same Idempotency-Key.",
    ) -> None:
        super().__init__(detail, retry_after_seconds=1)


class Overloaded(DomainError):
    kind = ErrorKind.UNAVAILABLE
    code = "overloaded"
    title = "Too much at once"

    def __init__(
        self, detail: str = "More requests are waiting than can be answered in time; retry shortly."
    ) -> None:
        super().__init__(detail, retry_after_seconds=1)


class IdempotencyKeyReused(DomainError):
    kind = ErrorKind.INVALID
    code = "idempotency_key_reused"
    title = "This Idempotency-Key was used for another request"

    def __init__(self) -> None:
        super().__init__(
            "The key was first sent with a different body; choose a new key for a new request."
        )


class IdempotencyInFlight(DomainError):
    kind = ErrorKind.CONFLICT
    code = "idempotency_in_flight"
    title = "The first request with this Idempotency-Key is still running"

    def __init__(self) -> None:
        super().__init__(
            "Retry with the same key in a moment to get its answer.", retry_after_seconds=1
        )
