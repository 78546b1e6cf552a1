"""Problems in the OpenAPI document: an example of each type, and the responses of a route.

An example is one occurrence, with what a type leaves open: detail, instance, members of its own. A
response describes a status, as OpenAPI has it, and refers to the examples of the codes that a route
answers with that status.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.ids import BookingId, HoldId
from app.transport.http.problems.problem import MEDIA_TYPE
from app.transport.http.problems.types import PROBLEM_TYPES, ProblemType

HOLD_ID = HoldId("hold_5a47ufr7dwcpjtksgnmxthdpjm")  # of the examples
BOOKING_ID = BookingId("bkg_3yyn5gcuwvkutmkwn5pevx3ite")
_FLIGHT = "flt_LA807-20261210-SCL-LIM"
_HOLD_PATH = f"/v1/holds/{HOLD_ID}"


@dataclass(frozen=True, slots=True)
class _Occurrence:
    """`members` are those beyond the shape that all problems share."""

    detail: str
    instance: str = "/v1/bookings"
    members: Mapping[str, Any] = field(default_factory=dict)


def _entry(at: Mapping[str, str], code: str, detail: str, **facts: Any) -> dict[str, Any]:
    return {**at, "code": code, "detail": detail, **facts}


_SOON: Mapping[str, Any] = {"retry_after_seconds": 1}

_OCCURRENCES: Mapping[str, _Occurrence] = {
    "malformed_json": _Occurrence("The JSON ends making sense at line 3, column 17."),
    "idempotency_key_missing": _Occurrence(
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
    "unauthenticated": _Occurrence("Send a valid access token as `Authorization: Bearer <token>`."),
    "scope_missing": _Occurrence(
        "This needs an access token with the scope bookings:write.",
        members={"required_scope": "bookings:write"},
    ),
    "not_found": _Occurrence("There is no such hold.", instance=_HOLD_PATH),
    "method_not_allowed": _Occurrence("This path takes GET.", instance="/livez"),
    "sold_out": _Occurrence(
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
    "price_changed": _Occurrence(
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
    "hold_not_active": _Occurrence("The hold has become a booking."),
    "extension_limit_reached": _Occurrence(
        "A hold is extended once.", instance=f"{_HOLD_PATH}/extend"
    ),
    "duplicate_booking": _Occurrence(
        "A booking with this client_reference was made before; read it, or choose another one.",
        members={"booking_id": BOOKING_ID},
    ),
    "not_for_sale": _Occurrence("Flight LA807 has departed.", instance="/v1/holds"),
    "flight_in_use": _Occurrence(
        "Times, stations, carrier and classes stay as they are while seats are held or sold; "
        "limits, fares and capacity can still be changed.",
        instance=f"/v1/flights/{_FLIGHT}",
        members={"flight_id": _FLIGHT},
    ),
    "idempotency_in_flight": _Occurrence(
        "Retry with the same key in a moment to get its answer.", members=_SOON
    ),
    "hold_expired": _Occurrence("The hold ran out and its seats are free again; make a new one."),
    "offer_expired": _Occurrence(
        "An offer stands for 20 minutes; search again.", instance="/v1/holds"
    ),
    "body_too_large": _Occurrence("At most 65536 bytes are taken."),
    "unsupported_media_type": _Occurrence("Send the body as application/json, in UTF-8."),
    "validation_error": _Occurrence(
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
    "idempotency_key_reused": _Occurrence(
        "The key was first sent with a different body; choose a new key for a new request."
    ),
    "internal_error": _Occurrence(
        "The failure was recorded under this request id; nothing was half done."
    ),
    "hold_store_unavailable": _Occurrence(
        "The hold store is away or being rebuilt; retry with the same Idempotency-Key.",
        instance="/v1/holds",
        members=_SOON,
    ),
    "database_unavailable": _Occurrence(
        "The database did not answer in time; nothing was half done.", members=_SOON
    ),
    "overloaded": _Occurrence(
        "More requests are waiting than can be answered in time; retry shortly.", members=_SOON
    ),
}
_STATUS: Mapping[str, int] = {one.code: one.status for one in PROBLEM_TYPES}
_DESCRIPTION = {
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
        status = _STATUS[code]
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


def problem_examples() -> dict[str, Any]:
    """For `components.examples`: what `documented` refers to."""
    return {one.code: {"summary": one.title, "value": example_of(one)} for one in PROBLEM_TYPES}


def example_of(problem_type: ProblemType) -> dict[str, Any]:
    occurrence = _OCCURRENCES[problem_type.code]
    return {
        "type": f"/docs/problems#{problem_type.code}",
        "title": problem_type.title,
        "status": problem_type.status,
        "detail": occurrence.detail,
        "instance": occurrence.instance,
        "code": problem_type.code,
        "request_id": "0b5c9b1e6a3d4b0f9d5a3c1e7f2a8b64",
        "retryable": problem_type.retryable,
        **occurrence.members,
    }


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
