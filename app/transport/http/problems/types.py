"""Every type of problem that a client can meet: what it means, and what to do about it.

A type is what all its occurrences share, as RFC 9457 has it; `/docs/problems` shows them to people. Code,
title and status are those of the errors themselves; only the explanations are kept here.
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
        "The body cannot be read as JSON, or is JSON that nobody should send: a member twice, NaN, "
        "more than 20 levels.",
        "Mend what writes the body; sending it again changes nothing.",
    ),
    ProblemType(
        IdempotencyKeyMissing,
        "Holding and booking take a header `Idempotency-Key`, so that a request may safely be sent "
        "twice. It is missing, or is not 1 to 255 printable ASCII characters.",
        "Draw a random key for each new request, and keep it for as long as you may send that "
        "request again.",
    ),
    ProblemType(
        Unauthenticated,
        "There is no access token, or it is not valid here: expired, of an unknown issuer, for "
        "another audience. The answer is the same whatever was wrong.",
        "Get a token from your issuer and send it as `Authorization: Bearer <token>`. Tokens end: "
        "get the next one before that.",
    ),
    ProblemType(
        ScopeMissing,
        "The token is valid and does not allow this: `required_scope` names what it lacks.",
        "Ask your issuer for a token with that scope.",
    ),
    ProblemType(
        NotFound,
        "Nothing has this id or path, or it belongs to another tenant: the two look alike.",
        "Check the id and whose token you sent.",
    ),
    ProblemType(
        MethodNotAllowed,
        "The path exists and does not take this method; the header `Allow` lists those it takes.",
        "Use another method.",
    ),
    ProblemType(
        SoldOut,
        "At least one segment has fewer seats open in its class than asked for; nothing was held. "
        "`errors` names each such segment with what is open. `next_release_at` is when seats that "
        "are only held come free at the earliest; null where they are sold.",
        "Search again, take another class, or wait until `next_release_at`.",
    ),
    ProblemType(
        PriceChanged,
        "A fare was changed since the offer was made; nothing was held. `price` is what the same "
        "seats cost now.",
        "Show the new price to your customer, read the offer again for a new id, and hold by that.",
    ),
    ProblemType(
        HoldNotActive,
        "The hold is not live any more: it was booked or released.",
        "Read the hold: `status` says which, and `booking_id` names its booking.",
    ),
    ProblemType(
        ExtensionLimitReached,
        "A hold is extended once.",
        "Book it before `expires_at`, or let it go and hold again.",
    ),
    ProblemType(
        DuplicateBooking,
        "A booking with this `client_reference` was made before: `booking_id` names it.",
        "Read that booking; it may be the one you wanted. For another one choose another "
        "`client_reference`, or none.",
    ),
    ProblemType(
        NotForSale,
        "The flight has departed.",
        "Search for a later one.",
    ),
    ProblemType(
        FlightInUse,
        "Seats of the flight are held or sold, so that its times, stations, carrier and classes stay "
        "as they are.",
        "Change limits and fares with PATCH; put a flight of another time under another id.",
    ),
    ProblemType(
        IdempotencyInFlight,
        "The first request with this Idempotency-Key is still running.",
        "Send the same request with the same key again in a moment: you get the first one's answer.",
    ),
    ProblemType(
        HoldExpired,
        "The hold ran out before it was booked; its seats are free again.",
        "Hold again, with a new Idempotency-Key.",
    ),
    ProblemType(
        OfferExpired,
        "Offers stand for 20 minutes, and this one has ended.",
        "Search again.",
    ),
    ProblemType(
        BodyTooLarge,
        "The body has more than 64 KiB.",
        "Send less; nothing that is taken here needs as much.",
    ),
    ProblemType(
        UnsupportedMediaType,
        "The header `Content-Type` is missing or is not JSON's.",
        "Send `Content-Type: application/json`.",
    ),
    ProblemType(
        ValidationFailed,
        "Members of the body, or parameters, are not as described. `errors` names every one of them: "
        "`pointer` into the body, `parameter` of the query, or `header`, with a `code` of its own "
        "(`missing`, `unknown_member`, `out_of_range`, `wrong_type`, `invalid`, `unknown_flight`, "
        "`unknown_class`, `mixed_currency`, …) and a sentence.",
        "Change the request; sending it again changes nothing.",
    ),
    ProblemType(
        IdempotencyKeyReused,
        "This Idempotency-Key was sent before, with a different body.",
        "Draw a new key for a new request.",
    ),
    ProblemType(
        InternalError,
        "Something unforeseen. It was recorded under the `request_id`, and nothing was half done.",
        "Send the same request, with the same Idempotency-Key, once more; then tell us the "
        "`request_id`.",
    ),
    ProblemType(
        HoldStoreUnavailable,
        "The store of live holds is away or being rebuilt. What was promised stays promised.",
        "Send the same request, with the same Idempotency-Key, after `Retry-After` seconds.",
    ),
    ProblemType(
        DatabaseUnavailable,
        "The database is away. Nothing was half done.",
        "Send the same request, with the same Idempotency-Key, after `Retry-After` seconds.",
    ),
    ProblemType(
        Overloaded,
        "More requests wait than can be answered in time. A change that had begun is still finished: "
        "the same key gets its answer.",
        "Send the same request, with the same Idempotency-Key, after `Retry-After` seconds.",
    ),
)
"""By status."""
