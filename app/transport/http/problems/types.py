"""Every type of problem that a client can receive: what it means, and what to do about it.

A type is what all its occurrences share (RFC 9457). `/docs/problems` shows the types. Code, title and status
come from the errors themselves; this module has only the explanations.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from app.booking.errors import DuplicateBooking
from app.errors import (
    DatabaseUnavailable,
    DomainError,
    HoldStoreUnavailable,
    IdempotencyInFlight,
    IdempotencyKeyReused,
    NotFound,
    Overloaded,
    ValidationFailed,
)
from app.hold.errors import (
    ExtensionLimitReached,
    HoldExpired,
    HoldNotActive,
    NotForSale,
    OfferExpired,
    PriceChanged,
    SoldOut,
)
from app.identity.errors import ScopeMissing, Unauthenticated
from app.schedule.errors import FlightInUse
from app.transport.http.problems.problem import (
    STATUS,
    BodyTooLarge,
    IdempotencyKeyMissing,
    InternalError,
    MalformedJson,
    MethodNotAllowed,
    Refusal,
    UnsupportedMediaType,
    is_retryable,
)


@dataclass(frozen=True, slots=True)
class ProblemType:
    error: type[DomainError | Refusal]
    meaning: str
    what_to_do: str

    @property
    def code(self) -> str:
        return self.error.code

    @property
    def title(self) -> str:
        return self.error.title

    @property
    def status(self) -> int:
        return self.error.status if issubclass(self.error, Refusal) else STATUS[self.error.kind]

    @property
    def retryable(self) -> bool:
        return is_retryable(self.status, self.code)


PROBLEM_TYPES: Sequence[ProblemType] = (
    ProblemType(
        MalformedJson,
        "The body cannot be parsed as JSON, or is not strict JSON: an object has a member twice, a "
        "number is NaN or Infinity, or the nesting exceeds 20 levels.",
        "Correct the body. Sending it again unchanged has the same result.",
    ),
    ProblemType(
        IdempotencyKeyMissing,
        "Holds and bookings require the header `Idempotency-Key`, so that a request can be retried "
        "safely. It is missing, or is not 1 to 255 printable ASCII characters.",
        "Generate a random key for each new request, and send the same key with each retry.",
    ),
    ProblemType(
        Unauthenticated,
        "There is no access token, or it is not valid: expired, of an unknown issuer, or for another "
        "audience. The answer is the same in all these cases.",
        "Get a token from your issuer and send it as `Authorization: Bearer <token>`. Tokens expire; "
        "renew yours in time.",
    ),
    ProblemType(
        ScopeMissing,
        "The token is valid, but lacks the scope that `required_scope` names.",
        "Request a token with that scope from your issuer.",
    ),
    ProblemType(
        NotFound,
        "No resource has this id or path, or it belongs to another tenant. The answer is the same in "
        "both cases.",
        "Check the id, and the tenant of your token.",
    ),
    ProblemType(
        MethodNotAllowed,
        "The path exists, but does not allow this method. The header `Allow` lists the methods.",
        "Use another method.",
    ),
    ProblemType(
        SoldOut,
        "At least one segment has fewer open seats in its class than requested; nothing was held. "
        "`errors` names each such segment and its open seats. `next_release_at` is the earliest time "
        "at which held seats may become open; null if the seats are sold.",
        "Search again, choose another class, or wait until `next_release_at`.",
    ),
    ProblemType(
        PriceChanged,
        "A fare has changed since the offer was made; nothing was held. `price` is the current price "
        "of the same seats.",
        "Show the new price to your customer, read the offer again to get a new id, and hold by it.",
    ),
    ProblemType(
        HoldNotActive,
        "The hold is no longer live: it was booked or released.",
        "Read the hold: `status` says which, and `booking_id` names its booking.",
    ),
    ProblemType(
        ExtensionLimitReached,
        "A hold can be extended once.",
        "Book it before `expires_at`, or release it and create a new hold.",
    ),
    ProblemType(
        DuplicateBooking,
        "A booking with this `client_reference` exists; `booking_id` names it.",
        "Read that booking: it may be the one you want. For another booking, send another "
        "`client_reference`, or none.",
    ),
    ProblemType(
        NotForSale,
        "The flight has departed.",
        "Search for a later flight.",
    ),
    ProblemType(
        FlightInUse,
        "Seats of the flight are held or sold, so its times, stations, carrier and classes cannot "
        "change.",
        "Change limits and fares with PATCH. Put a flight with other times under another id.",
    ),
    ProblemType(
        IdempotencyInFlight,
        "The first request with this Idempotency-Key is still running.",
        "Retry with the same key after `Retry-After` seconds: you receive the first answer.",
    ),
    ProblemType(
        HoldExpired,
        "The hold expired before it was booked, and its seats are free again.",
        "Create a new hold, with a new Idempotency-Key.",
    ),
    ProblemType(
        OfferExpired,
        "An offer is valid for 20 minutes, and this one has expired.",
        "Search again.",
    ),
    ProblemType(
        BodyTooLarge,
        "The body exceeds 64 KiB.",
        "Send a smaller body; no request needs that much.",
    ),
    ProblemType(
        UnsupportedMediaType,
        "The header `Content-Type` is missing, or is not JSON.",
        "Send `Content-Type: application/json`.",
    ),
    ProblemType(
        ValidationFailed,
        "Members of the body, or parameters, are invalid. `errors` names each of them: `pointer` into "
        "the body, `parameter` of the query, or `header`, with a `code` of its own (`missing`, "
        "`unknown_member`, `out_of_range`, `wrong_type`, `invalid`, `unknown_flight`, "
        "`unknown_class`, `mixed_currency`, …) and a `detail`.",
        "Correct the request. Sending it again unchanged has the same result.",
    ),
    ProblemType(
        IdempotencyKeyReused,
        "This Idempotency-Key was used before, with a different body.",
        "Generate a new key for a new request.",
    ),
    ProblemType(
        InternalError,
        "An unexpected error. It is logged under the `request_id`. No change is left half done.",
        "Retry once, with the same Idempotency-Key. If that fails too, report the `request_id`.",
    ),
    ProblemType(
        HoldStoreUnavailable,
        "The store of live holds is unreachable or being rebuilt. Existing holds keep their seats.",
        "Retry with the same Idempotency-Key after `Retry-After` seconds.",
    ),
    ProblemType(
        DatabaseUnavailable,
        "The database is unreachable. No change is left half done.",
        "Retry with the same Idempotency-Key after `Retry-After` seconds.",
    ),
    ProblemType(
        Overloaded,
        "More requests wait than can be answered in time. A change that has begun is still "
        "completed: a retry with the same key receives its answer.",
        "Retry with the same Idempotency-Key after `Retry-After` seconds.",
    ),
)
"""By status."""
