"""I5: an acknowledged booking exists, complete and once; and no booking exists that was not requested.

Booking row, CONFIRMED journal row, idempotency record and outbox rows exist together or not at all. I1
checks that the seats are counted as sold.
"""

from collections import defaultdict
from collections.abc import Iterable

from tests.faults.checker.evidence import Evidence, may_have_happened
from tests.faults.checker.model import Findings
from tests.faults.dumps import BookingRow, OutboxRow
from tests.faults.history import Operation

CONFIRM_ROUTE = "bookings.confirm"


def check_bookings(evidence: Evidence, findings: Findings) -> None:
    books = [one for one in evidence.operations if one.kind == "book"]
    for operation in books:
        if operation.outcome == "ok":
            _check_acknowledged(evidence, findings, operation)
    asked: dict[str, list[Operation]] = defaultdict(list)
    for operation in books:
        if operation.subject is not None and may_have_happened(operation):
            asked[operation.subject].append(operation)
    facts: dict[str, list[OutboxRow]] = defaultdict(list)
    for fact in evidence.dumps.outbox:
        if fact.aggregate_type == "booking":
            facts[fact.aggregate_id].append(fact)
    records = {row.subject_id for row in evidence.dumps.idempotency if row.route == CONFIRM_ROUTE}
    for row in evidence.dumps.bookings:
        _check_whole(evidence, findings, row, facts.get(row.booking_id, ()), records)
        _check_asked_for(evidence, findings, row, asked.get(row.hold_id, ()))
    _check_nothing_without_booking(evidence, findings, facts, records)
    _check_unique(evidence, findings)
    for booking_id, operations in evidence.by_booking.items():
        _check_later_answers(evidence, findings, booking_id, operations)


def _check_acknowledged(evidence: Evidence, findings: Findings, operation: Operation) -> None:
    answer = operation.answer or {}
    row = evidence.booking_rows.get(answer.get("id", ""))
    if row is None:
        findings.add("I5", f"{answer.get('id')} was acknowledged, and does not exist", operation)
        return
    answered = answer.get("hold_id"), answer.get("record_locator"), answer.get("client_reference")
    if answered != (row.hold_id, row.record_locator, row.client_reference):
        findings.add(
            "I5",
            f"{row.booking_id} was answered with another hold, locator or reference",
            operation,
        )
    if row.tenant_id != operation.tenant:
        findings.add("I9", f"{row.booking_id} belongs to another tenant", operation)


def _check_whole(
    evidence: Evidence,
    findings: Findings,
    row: BookingRow,
    facts: Iterable[OutboxRow],
    records: set[str],
) -> None:
    journal = evidence.journal.get(row.hold_id)
    answered = [fact.type for fact in sorted(facts, key=lambda fact: fact.sequence)]
    expected = ["booking.confirmed"] + ["booking.cancelled"] * (row.status == "cancelled")
    wrong = []
    if journal is None or journal.state != "CONFIRMED":
        wrong.append(f"its hold is {journal.state if journal else 'missing'}")
    elif sorted(journal.lines) != sorted(row.lines) or journal.tenant_id != row.tenant_id:
        wrong.append("its hold has other lines or another tenant")
    if answered != expected:
        wrong.append(f"its facts are {answered}")
    if row.booking_id not in records:
        wrong.append("it has no idempotency record")
    if row.version != len(expected):
        wrong.append(f"its version is {row.version}")
    if wrong:
        findings.add(
            "I5",
            f"{row.booking_id} is {row.status} and incomplete: {'; '.join(wrong)}",
            *_about(evidence, row)[:2],
        )


def _check_asked_for(
    evidence: Evidence, findings: Findings, row: BookingRow, books: Iterable[Operation]
) -> None:
    if not list(books):
        findings.add("I5", f"{row.booking_id} exists without a request", *_about(evidence, row)[:2])
    cancels = [one for one in evidence.by_booking.get(row.booking_id, ()) if one.kind == "cancel"]
    if row.status == "cancelled" and not any(may_have_happened(one) for one in cancels):
        findings.add(
            "I5",
            f"{row.booking_id} is cancelled without a request",
            *_about(evidence, row)[:2],
        )


def _check_nothing_without_booking(
    evidence: Evidence, findings: Findings, facts: Iterable[str], records: Iterable[str]
) -> None:
    for journal in evidence.dumps.hold_journal:
        if journal.state == "CONFIRMED" and journal.hold_id not in evidence.booking_of_hold:
            story = evidence.holds.get(journal.hold_id)
            findings.add(
                "I5",
                f"{journal.hold_id} is CONFIRMED and has no booking",
                *(story.of("book")[:2] if story else ()),
            )
    for booking_id in facts:
        if booking_id not in evidence.booking_rows:
            findings.add("I5", f"a fact is about {booking_id}, which does not exist")
    for booking_id in records:
        if booking_id not in evidence.booking_rows:
            findings.add("I5", f"an idempotency record names {booking_id}, which does not exist")


def _check_unique(evidence: Evidence, findings: Findings) -> None:
    holds: dict[str, BookingRow] = {}
    locators: dict[str, BookingRow] = {}
    for row in evidence.dumps.bookings:
        for name, seen, value in (
            ("hold", holds, row.hold_id),
            ("record locator", locators, row.record_locator),
        ):
            other = seen.setdefault(value, row)
            if other is not row:
                findings.add(
                    "I5",
                    f"{other.booking_id} and {row.booking_id} have the same {name}, {value}",
                    *_about(evidence, other)[:1],
                    *_about(evidence, row)[:1],
                )


def _check_later_answers(
    evidence: Evidence, findings: Findings, booking_id: str, operations: list[Operation]
) -> None:
    """Later answers about one booking to its own tenant agree with its row."""
    row = evidence.booking_rows.get(booking_id)
    mine = [one for one in operations if row is not None and one.tenant == row.tenant_id]
    cancelled = [one for one in mine if one.kind == "cancel" and one.outcome == "ok"]
    if row is not None and cancelled and row.status != "cancelled":
        findings.add("I5", f"{booking_id} was cancelled, and is {row.status}", cancelled[0])
    known_at = _acknowledged_at(evidence, row)
    for one in mine:
        if one.status == 404 and one.invoked_at > known_at:
            findings.add(
                "I5",
                f"{booking_id} was acknowledged, and then not found",
                *_about(evidence, row)[:1],
                one,
            )
        if one.kind != "get_booking" or one.outcome != "ok":
            continue
        status, done = (one.answer or {}).get("status"), one.completed_at or one.invoked_at
        before = [each for each in cancelled if (each.completed_at or done) < one.invoked_at]
        if status == "confirmed" and before:
            findings.add(
                "I5", f"{booking_id} was cancelled, and then shown as confirmed", before[0], one
            )
        possible = [each for each in mine if each.kind == "cancel" and may_have_happened(each)]
        if status == "cancelled" and not any(each.invoked_at <= done for each in possible):
            findings.add("I5", f"{booking_id} was shown as cancelled before a request for it", one)


def _acknowledged_at(evidence: Evidence, row: BookingRow | None) -> float:
    done = [one for one in _about(evidence, row) if one.outcome == "ok"]
    return min((one.completed_at or one.invoked_at for one in done), default=float("inf"))


def _about(evidence: Evidence, row: BookingRow | None) -> list[Operation]:
    """The booking requests for its hold."""
    story = None if row is None else evidence.holds.get(row.hold_id)
    return story.of("book") if story is not None else []
