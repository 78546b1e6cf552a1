"""Problems in the OpenAPI document: an example of each type, and the responses of a route.

An example is rendered from an error as the code raises it. A response describes a status, as OpenAPI
requires, and refers to the examples of the codes that a route answers with that status.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from app.booking.errors import DuplicateBooking
from app.errors import (
    DatabaseUnavailable,
    DomainError,
    HoldStoreUnavailable,
    IdempotencyInFlight,
    IdempotencyKeyReused,
    Overloaded,
    ValidationFailed,
    Violation,
)
from app.hold.errors import (
    ExtensionLimitReached,
    HoldExpired,
    HoldNotActive,
    NotForSale,
    OfferExpired,
    PriceChanged,
    SoldOut,
    no_such_hold,
)
from app.hold.model import ClassChoice, Full
from app.identity.errors import ScopeMissing, Unauthenticated
from app.ids import BookingId, FlightId, HoldId
from app.inventory.itinerary import PassengerPrice, Price
from app.money import Money
from app.schedule.errors import FlightInUse
from app.transport.http.problems.problem import (
    MEDIA_TYPE,
    BodyTooLarge,
    IdempotencyKeyMissing,
    InternalError,
    MalformedJson,
    MethodNotAllowed,
    Refusal,
    UnsupportedMediaType,
    problem_members,
    problem_of,
)
from app.transport.http.problems.types import PROBLEM_TYPES, ProblemType

HOLD_ID = HoldId("hold_5a47ufr7dwcpjtksgnmxthdpjm")  # of the examples
BOOKING_ID = BookingId("bkg_3yyn5gcuwvkutmkwn5pevx3ite")
_FLIGHT = FlightId("flt_LA807-20261210-SCL-LIM")
_REQUEST_ID = "0b5c9b1e6a3d4b0f9d5a3c1e7f2a8b64"
_HOLD_PATH = f"/v1/holds/{HOLD_ID}"


@dataclass(frozen=True, slots=True)
class _Occurrence:
    """One refusal, as it is raised, and the path on which it is."""

    error: DomainError | Refusal
    path: str = "/v1/bookings"


def _price(amount: int) -> Price:
    each = Money(amount, "USD")
    return Price(each, (PassengerPrice("ADT", 1, each),))


_OCCURRENCES: Sequence[_Occurrence] = (
    _Occurrence(MalformedJson("Invalid JSON at line 3, column 17.")),
    _Occurrence(
        IdempotencyKeyMissing(
            "This request requires an Idempotency-Key.",
            violations=[Violation("header", "Idempotency-Key", "missing", "is required")],
        )
    ),
    _Occurrence(Unauthenticated()),
    _Occurrence(ScopeMissing("bookings:write")),
    _Occurrence(no_such_hold(), _HOLD_PATH),
    _Occurrence(MethodNotAllowed("This path allows GET."), "/livez"),
    _Occurrence(
        SoldOut.of(
            [ClassChoice(_FLIGHT, "N")],
            2,
            Full((1,), datetime(2026, 11, 26, 14, 5, tzinfo=UTC)),
            by_offer=False,
        ),
        "/v1/holds",
    ),
    _Occurrence(PriceChanged(_price(25_100)), "/v1/holds"),
    _Occurrence(HoldNotActive("The hold has become a booking; cancel that instead.")),
    _Occurrence(ExtensionLimitReached(), f"{_HOLD_PATH}/extend"),
    _Occurrence(DuplicateBooking(BOOKING_ID)),
    _Occurrence(NotForSale("Flight LA807 has departed."), "/v1/holds"),
    _Occurrence(FlightInUse(_FLIGHT), f"/v1/flights/{_FLIGHT}"),
    _Occurrence(IdempotencyInFlight()),
    _Occurrence(HoldExpired()),
    _Occurrence(OfferExpired(), "/v1/holds"),
    _Occurrence(BodyTooLarge("The body must not exceed 65536 bytes.")),
    _Occurrence(UnsupportedMediaType("Send the body as application/json, in UTF-8.")),
    _Occurrence(
        ValidationFailed(
            "Some members or parameters are invalid; see errors.",
            violations=[
                Violation("pointer", "/passengers/0/born_on", "missing", "is required"),
                Violation(
                    "parameter", "departure_date", "invalid", "must be a date such as 2026-12-10"
                ),
            ],
        )
    ),
    _Occurrence(IdempotencyKeyReused()),
    _Occurrence(InternalError()),
    _Occurrence(HoldStoreUnavailable(), "/v1/holds"),
    _Occurrence(DatabaseUnavailable()),
    _Occurrence(Overloaded()),
)
_BY_CODE: Mapping[str, _Occurrence] = {one.error.code: one for one in _OCCURRENCES}
_STATUS: Mapping[str, int] = {one.code: one.status for one in PROBLEM_TYPES}
_DESCRIPTION = {
    400: "The body is not valid JSON, or the Idempotency-Key is missing or invalid.",
    401: "There is no valid token.",
    403: "The token lacks the scope.",
    404: "No such resource exists for this tenant.",
    405: "The path does not allow this method.",
    409: "The current state does not allow the request; `code` says why.",
    410: "The resource existed and has ended.",
    413: "The body exceeds 64 KiB.",
    415: "The media type of the body is not JSON.",
    422: "Members or parameters are invalid; see `errors`.",
    503: "Temporarily unavailable; retry later. No change is left half done.",
}


def documented(*codes: str) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may refuse with these codes: one response for each status."""
    by_status: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        status = _STATUS[code]
        answer = by_status.setdefault(status, _response(status))
        answer["content"][MEDIA_TYPE]["examples"][code] = {"$ref": f"#/components/examples/{code}"}
    return by_status


def merged(
    general: Mapping[int | str, dict[str, Any]], own: Mapping[int | str, dict[str, Any]]
) -> dict[int | str, dict[str, Any]]:
    """Both. Where both have a status, the description is `own`'s and the examples are those of both."""
    answers = {**general, **own}
    for status in general.keys() & own.keys():
        examples = {**_examples_in(own[status]), **_examples_in(general[status])}
        answers[status]["content"][MEDIA_TYPE]["examples"] = examples
    return dict(sorted(answers.items(), key=lambda answer: str(answer[0])))


def problem_examples() -> dict[str, Any]:
    """For `components.examples`, to which `documented` refers."""
    return {one.code: {"summary": one.title, "value": example_of(one)} for one in PROBLEM_TYPES}


def example_of(problem_type: ProblemType) -> dict[str, Any]:
    occurrence = _BY_CODE[problem_type.code]
    return problem_members(problem_of(occurrence.error), occurrence.path, _REQUEST_ID)


def _examples_in(answer: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = answer["content"][MEDIA_TYPE]["examples"]
    return found


def _response(status: int) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "description": _DESCRIPTION[status],
        "content": {
            MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": {}}
        },
    }
    if status == 503:
        answer["headers"] = {
            "Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}
        }
    return answer
