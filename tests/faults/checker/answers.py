"""I9 and I12: every answer belongs to its own request, has a code of the contract, and comes in time.

I9 compares each answer with its request, and every id with its tenant. I12 knows the contract's codes; it
judges the duration of an answer only while nothing is broken, and ignores requests without an answer,
because their client may have given up.
"""

from typing import Any, Final

from tests.faults.checker.evidence import Evidence
from tests.faults.checker.model import Findings
from tests.faults.history import Operation

PROBLEM: Final = "application/problem+json"
SUCCESS: Final = {
    "hold": 201,
    "book": 201,
    "release": 204,
    "get_hold": 200,
    "extend": 200,
    "get_booking": 200,
    "cancel": 200,
    "availability": 200,
    "patch": 200,
    "events": 200,
}
_LOCATED: Final = {"hold": "/v1/holds/", "book": "/v1/bookings/"}
_NAMED: Final = {
    "get_hold": "id",
    "extend": "id",
    "get_booking": "id",
    "cancel": "id",
    "availability": "flight_id",
    "patch": "flight_id",
    "book": "hold_id",
}
STATUSES: Final = {
    "malformed_json": 400,
    "idempotency_key_missing": 400,
    "unauthenticated": 401,
    "scope_missing": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "hold_expired": 410,
    "offer_expired": 410,
    "body_too_large": 413,
    "unsupported_media_type": 415,
    "validation_error": 422,
    "idempotency_key_reused": 422,
    "sold_out": 409,
    "price_changed": 409,
    "hold_not_active": 409,
    "extension_limit_reached": 409,
    "duplicate_booking": 409,
    "not_for_sale": 409,
    "flight_in_use": 409,
    "idempotency_in_flight": 409,
    "hold_store_unavailable": 503,
    "database_unavailable": 503,
    "overloaded": 503,
}
_COUNTS: Final = ("ADT", "CHD", "INF")


def check_answers(evidence: Evidence, findings: Findings) -> None:
    owners = {hold_id: story.tenant for hold_id, story in evidence.holds.items()}
    owners |= {row.hold_id: row.tenant_id for row in evidence.dumps.hold_journal if row.tenant_id}
    owners |= {row.booking_id: row.tenant_id for row in evidence.dumps.bookings}
    for operation in evidence.operations:
        if operation.status is None:
            continue
        _check_typed(findings, operation)
        _check_in_time(evidence, findings, operation)
        _check_echo(findings, operation)
        if operation.outcome == "ok":
            for wrong in _differences(evidence, operation):
                findings.add("I9", wrong, operation)
            _check_owner(findings, operation, owners)


def _check_typed(findings: Findings, operation: Operation) -> None:
    status, code = operation.status or 0, operation.code
    if operation.outcome == "ok":
        if status != SUCCESS.get(operation.kind, status):
            findings.add("I12", f"a {operation.kind} succeeded with {status}", operation)
        return
    answer = operation.answer or {}
    if status >= 500 and status != 503:
        findings.add("I12", f"an answer is {status}", operation)
    elif operation.headers.get("content-type", "").partition(";")[0] != PROBLEM:
        findings.add("I12", f"a refusal with {status} is not a problem document", operation)
    elif code not in STATUSES or answer.get("code") != code or answer.get("status") != status:
        findings.add(
            "I12", f"a refusal with {status} has no code of the contract: {code}", operation
        )
    elif STATUSES[code] != status:
        findings.add("I12", f"{code} came with {status}", operation)
    elif status == 503 and "retry-after" not in operation.headers:
        findings.add("I12", f"{code} has no Retry-After", operation)


def _check_in_time(evidence: Evidence, findings: Findings, operation: Operation) -> None:
    completed = operation.completed_at
    if completed is None or not evidence.quiet.during(operation.invoked_at, completed):
        return
    took = completed - operation.invoked_at
    if took > evidence.terms.deadline_seconds:
        findings.add("I12", f"an answer took {took:.1f} s although nothing was broken", operation)
    if took < 0:
        findings.add("I12", "an answer came before its request", operation)


def _check_echo(findings: Findings, operation: Operation) -> None:
    echoed = operation.headers.get("x-request-id")
    if echoed != operation.request_id:
        findings.add("I9", f"request {operation.request_id} was answered as {echoed}", operation)
    answered = (operation.answer or {}).get("request_id", echoed)
    if operation.outcome != "ok" and answered != echoed:
        findings.add("I9", f"a problem names {answered} as its request", operation)


def _check_owner(findings: Findings, operation: Operation, owners: dict[str, str]) -> None:
    named = [operation.subject, (operation.answer or {}).get("id")]
    for one in named:
        if isinstance(one, str) and owners.get(one, operation.tenant) != operation.tenant:
            findings.add(
                "I9", f"{operation.tenant} was answered about {owners[one]}'s {one}", operation
            )
            return
    if operation.kind == "events":
        for event in (operation.answer or {}).get("data", ()):
            if event.get("tenant_id") not in (operation.tenant, None):
                findings.add(
                    "I9", f"{operation.tenant} received a fact of another tenant", operation
                )
                return


def _differences(evidence: Evidence, operation: Operation) -> list[str]:
    """The differences between the request and its answer."""
    answer = operation.answer
    if operation.kind == "release":
        return []
    if not isinstance(answer, dict):
        return ["a success without a body"]
    wrong = []
    name = _NAMED.get(operation.kind)
    if name is not None and answer.get(name) != operation.subject:
        wrong.append(f"asked about {operation.subject}, answered about {answer.get(name)}")
    prefix = _LOCATED.get(operation.kind)
    if prefix is not None and operation.headers.get("location") != f"{prefix}{answer.get('id')}":
        wrong.append(f"{answer.get('id')} has the Location {operation.headers.get('location')}")
    match operation.kind:
        case "hold":
            wrong += _hold_differences(operation.request, answer)
        case "book":
            wrong += _book_differences(evidence, operation.request, answer)
        case "get_hold" | "extend":
            wrong += _story_differences(evidence, answer)
    return wrong


def _hold_differences(asked: dict[str, Any], answered: dict[str, Any]) -> list[str]:
    wrong = []
    if "segments" in asked:
        wanted = [(one["flight_id"], one["booking_class"]) for one in asked["segments"]]
        if wanted != _segments(answered):
            wrong.append("the held segments are not the requested ones")
        counts = {name: asked["passengers"].get(name, 0) for name in _COUNTS}
        if counts != answered.get("passengers"):
            wrong.append("the passengers of the hold are not the requested ones")
    if asked.get("client_reference") != answered.get("client_reference"):
        wrong.append("a hold has another client's reference")
    return wrong


def _book_differences(
    evidence: Evidence, asked: dict[str, Any], answered: dict[str, Any]
) -> list[str]:
    wrong = [
        f"a booking's {name} is not the requested one"
        for name in ("contact", "passengers", "payment", "client_reference")
        if asked.get(name) != answered.get(name)
    ]
    story = evidence.holds.get(asked.get("hold_id", ""))
    if story is not None and _segments(story.granted.answer or {}) != _segments(answered):
        wrong.append("a booking has other segments than its hold")
    return wrong


def _story_differences(evidence: Evidence, answered: dict[str, Any]) -> list[str]:
    story = evidence.holds.get(answered.get("id", ""))
    if story is None:
        return []
    first = story.granted.answer or {}
    wrong = [
        f"a hold's {name} is not the promised one"
        for name in ("created_at", "passengers", "price", "client_reference")
        if first.get(name) != answered.get(name)
    ]
    if _segments(first) != _segments(answered):
        wrong.append("a hold's segments are not the promised ones")
    return wrong


def _segments(answered: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (one.get("flight_id", ""), one.get("booking_class", ""))
        for one in answered.get("segments", ())
    ]
