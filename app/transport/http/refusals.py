"""Every refusal a client can meet, for people: what it means, what to do about it, how it looks.

The catalogue behind `/docs/problems` and the examples in `/openapi.json`. Code, title and status are
those of the errors themselves; only the explanations are kept here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

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
from app.transport.http.problems import (
    MEDIA_TYPE,
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

_FLIGHT = "flt_LA807-20261210-SCL-LIM"
_BOOKING = "bkg_3yyn5gcuwvkutmkwn5pevx3ite"
_HOLD_PATH = "/v1/holds/hold_5a47ufr7dwcpjtksgnmxthdpjm"


@dataclass(frozen=True, slots=True)
class Explained:
    """`members` are those of the example beyond the shape that all refusals share."""

    error: type[DomainError | Refusal]
    meaning: str
    what_to_do: str
    detail: str
    instance: str = "/v1/bookings"
    members: Mapping[str, Any] = field(default_factory=dict)

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

    def example(self) -> dict[str, Any]:
        return {
            "type": f"/docs/problems#{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": self.instance,
            "code": self.code,
            "request_id": "0b5c9b1e6a3d4b0f9d5a3c1e7f2a8b64",
            "retryable": self.retryable,
            **self.members,
        }


def _entry(at: Mapping[str, str], code: str, detail: str, **facts: Any) -> dict[str, Any]:
    return {**at, "code": code, "detail": detail, **facts}


_SOON: Mapping[str, Any] = {"retry_after_seconds": 1}

EXPLAINED: Sequence[Explained] = (
    Explained(
        MalformedJson,
        "The body cannot be read as JSON, or is JSON that nobody should send: a member twice, NaN, "
        "more than 20 levels.",
        "Mend what writes the body; sending it again changes nothing.",
        "The JSON ends making sense at line 3, column 17.",
    ),
    Explained(
        IdempotencyKeyMissing,
        "Holding and booking take a header `Idempotency-Key`, so that a request may safely be sent "
        "twice. It is missing, or is not 1 to 255 printable ASCII characters.",
        "Draw a random key for each new request, and keep it for as long as you may send that "
        "request again.",
        "This request needs an Idempotency-Key.",
        members={
            "errors": [
                _entry(
                    {"header": "Idempotency-Key"},
                    "missing",
                    "This request needs an Idempotency-Key.",
                )
            ]
        },
    ),
    Explained(
        Unauthenticated,
        "There is no access token, or it is not valid here: expired, of an unknown issuer, for "
        "another audience. The answer is the same whatever was wrong.",
        "Get a token from your issuer and send it as `Authorization: Bearer <token>`. Tokens end: "
        "get the next one before that.",
        "Send a valid access token as `Authorization: Bearer <token>`.",
    ),
    Explained(
        ScopeMissing,
        "The token is valid and does not allow this: `required_scope` names what it lacks.",
        "Ask your issuer for a token with that scope.",
        "This needs an access token with the scope bookings:write.",
        members={"required_scope": "bookings:write"},
    ),
    Explained(
        NotFound,
        "Nothing has this id or path, or it belongs to another tenant: the two look alike.",
        "Check the id and whose token you sent.",
        "There is no such hold.",
        instance=_HOLD_PATH,
    ),
    Explained(
        MethodNotAllowed,
        "The path exists and does not take this method; the header `Allow` lists those it takes.",
        "Use another method.",
        "This path takes GET.",
        instance="/livez",
    ),
    Explained(
        SoldOut,
        "At least one segment has fewer seats open in its class than asked for; nothing was held. "
        "`errors` names each such segment with what is open. `next_release_at` is when seats that "
        "are only held come free at the earliest; null where they are sold.",
        "Search again, take another class, or wait until `next_release_at`.",
        "Not all segments have the seats asked for; nothing was held.",
        instance="/v1/holds",
        members={
            "next_release_at": "2026-11-26T14:05:00Z",
            "errors": [
                _entry(
                    {"pointer": "/segments/0"},
                    "sold_out",
                    "2 seats asked for, 1 open in class N.",
                    flight_id=_FLIGHT,
                    booking_class="N",
                    requested=2,
                    open=1,
                )
            ],
        },
    ),
    Explained(
        PriceChanged,
        "A fare was changed since the offer was made; nothing was held. `price` is what the same "
        "seats cost now.",
        "Show the new price to your customer, read the offer again for a new id, and hold by that.",
        "The offer's price no longer stands; hold at the new one or search again.",
        instance="/v1/holds",
        members={
            "price": {
                "total": {"amount": "251.00", "currency": "USD"},
                "passengers": [
                    {"type": "ADT", "count": 1, "each": {"amount": "251.00", "currency": "USD"}}
                ],
            }
        },
    ),
    Explained(
        HoldNotActive,
        "The hold is not live any more: it was booked or released.",
        "Read the hold: `status` says which, and `booking_id` names its booking.",
        "The hold has become a booking.",
    ),
    Explained(
        ExtensionLimitReached,
        "A hold is extended once.",
        "Book it before `expires_at`, or let it go and hold again.",
        "A hold is extended once.",
        instance=f"{_HOLD_PATH}/extend",
    ),
    Explained(
        DuplicateBooking,
        "A booking with this `client_reference` was made before: `booking_id` names it.",
        "Read that booking; it may be the one you wanted. For another one choose another "
        "`client_reference`, or none.",
        "A booking with this client_reference was made before; read it, or choose another one.",
        members={"booking_id": _BOOKING},
    ),
    Explained(
        NotForSale,
        "The flight has departed.",
        "Search for a later one.",
        "Flight LA807 has departed.",
        instance="/v1/holds",
    ),
    Explained(
        FlightInUse,
        "Seats of the flight are held or sold, so that its times, stations, carrier and classes stay "
        "as they are.",
        "Change limits and fares with PATCH; put a flight of another time under another id.",
        "Times, stations, carrier and classes stay as they are while seats are held or sold; "
        "limits, fares and capacity can still be changed.",
        instance=f"/v1/flights/{_FLIGHT}",
        members={"flight_id": _FLIGHT},
    ),
    Explained(
        IdempotencyInFlight,
        "The first request with this Idempotency-Key is still running.",
        "Send the same request with the same key again in a moment: you get the first one's answer.",
        "Retry with the same key in a moment to get its answer.",
        members=_SOON,
    ),
    Explained(
        HoldExpired,
        "The hold ran out before it was booked; its seats are free again.",
        "Hold again, with a new Idempotency-Key.",
        "The hold ran out and its seats are free again; make a new one.",
    ),
    Explained(
        OfferExpired,
        "Offers stand for 20 minutes, and this one has ended.",
        "Search again.",
        "An offer stands for 20 minutes; search again.",
        instance="/v1/holds",
    ),
    Explained(
        BodyTooLarge,
        "The body has more than 64 KiB.",
        "Send less; nothing that is taken here needs as much.",
        "At most 65536 bytes are taken.",
    ),
    Explained(
        UnsupportedMediaType,
        "The header `Content-Type` is missing or is not JSON's.",
        "Send `Content-Type: application/json`.",
        "Send the body as application/json, in UTF-8.",
    ),
    Explained(
        ValidationFailed,
        "Members of the body, or parameters, are not as described. `errors` names every one of them: "
        "`pointer` into the body, `parameter` of the query, or `header`, with a `code` of its own "
        "(`missing`, `unknown_member`, `out_of_range`, `wrong_type`, `invalid`, `unknown_flight`, "
        "`unknown_class`, `mixed_currency`, …) and a sentence.",
        "Change the request; sending it again changes nothing.",
        "Some members or parameters are not as described; see errors.",
        members={
            "errors": [
                _entry({"pointer": "/passengers/0/born_on"}, "missing", "This is required."),
                _entry(
                    {"parameter": "departure_date"},
                    "invalid",
                    "This takes a date such as 2026-12-10.",
                ),
            ]
        },
    ),
    Explained(
        IdempotencyKeyReused,
        "This Idempotency-Key was sent before, with a different body.",
        "Draw a new key for a new request.",
        "The key was first sent with a different body; choose a new key for a new request.",
    ),
    Explained(
        InternalError,
        "Something unforeseen. It was recorded under the `request_id`, and nothing was half done.",
        "Send the same request, with the same Idempotency-Key, once more; then tell us the "
        "`request_id`.",
        "The failure was recorded under this request id; nothing was half done.",
    ),
    Explained(
        HoldStoreUnavailable,
        "The store of live holds is away or being rebuilt. What was promised stays promised.",
        "Send the same request, with the same Idempotency-Key, after `Retry-After` seconds.",
        "The hold store is away or being rebuilt; retry with the same Idempotency-Key.",
        instance="/v1/holds",
        members=_SOON,
    ),
    Explained(
        DatabaseUnavailable,
        "The database is away. Nothing was half done.",
        "Send the same request, with the same Idempotency-Key, after `Retry-After` seconds.",
        "The database did not answer in time; nothing was half done.",
        members=_SOON,
    ),
    Explained(
        Overloaded,
        "More requests wait than can be answered in time. A change that had begun is still finished: "
        "the same key gets its answer.",
        "Send the same request, with the same Idempotency-Key, after `Retry-After` seconds.",
        "More requests are waiting than can be answered in time; retry shortly.",
        members=_SOON,
    ),
)
"""By status."""

_BY_CODE: Mapping[str, Explained] = {one.code: one for one in EXPLAINED}
_MEANING = {
    400: "The body is not JSON, or an Idempotency-Key is missing.",
    401: "No valid token.",
    403: "The token lacks the scope.",
    404: "Nothing here for this tenant.",
    405: "The path does not take this method.",
    409: "The state of things speaks against it; `code` says what.",
    410: "It was there, and has ended.",
    413: "The body is larger than 64 KiB.",
    415: "The body is not JSON by its media type.",
    422: "Members or parameters are not as described; see `errors`.",
    503: "Try the same again later; nothing was half done.",
}


def documented(*codes: str) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's view of these refusals, for a route's `responses`: one response a status."""
    by_status: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        status = _BY_CODE[code].status
        answer = by_status.setdefault(status, _response(status))
        answer["content"][MEDIA_TYPE]["examples"][code] = {"$ref": f"#/components/examples/{code}"}
    return by_status


def merged(
    general: Mapping[int | str, dict[str, Any]], own: Mapping[int | str, dict[str, Any]]
) -> dict[int | str, dict[str, Any]]:
    """Both; where both know a status, `own` describes it and the examples of both stand there."""
    answers = {**general, **own}
    for status in general.keys() & own.keys():
        examples = {**_examples_in(own[status]), **_examples_in(general[status])}
        answers[status]["content"][MEDIA_TYPE]["examples"] = examples
    return dict(sorted(answers.items(), key=lambda answer: str(answer[0])))


def examples() -> dict[str, Any]:
    """For `components.examples`: what `documented` refers to."""
    return {one.code: {"summary": one.title, "value": one.example()} for one in EXPLAINED}


def _examples_in(answer: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = answer["content"][MEDIA_TYPE]["examples"]
    return found


def _response(status: int) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "description": _MEANING[status],
        "content": {
            MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": {}}
        },
    }
    if status == 503:
        answer["headers"] = {
            "Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}
        }
    return answer
