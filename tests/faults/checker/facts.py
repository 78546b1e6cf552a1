"""I7 and I8: the bus and `GET /v1/events` have exactly the committed facts, in order.

Every committed fact was published at least once, and nothing else was; within an aggregate, first deliveries
are in sequence from 1 without gaps. A page of the list is a contiguous part of the tenant's facts in their
order: it begins right after its cursor and omits nothing.
"""

from collections import defaultdict
from typing import Any
from urllib.parse import parse_qs

from tests.faults.checker.evidence import Evidence, instant
from tests.faults.checker.model import Findings
from tests.faults.dumps import OutboxRow
from tests.faults.history import Operation


def check_facts(evidence: Evidence, findings: Findings) -> None:
    rows = {row.event_id: row for row in evidence.dumps.outbox}
    _check_bus(evidence, findings, rows)
    _check_sequences(evidence, findings)
    _check_lines(evidence, findings)
    _check_pages(evidence, findings)


def _check_bus(evidence: Evidence, findings: Findings, rows: dict[str, OutboxRow]) -> None:
    delivered: set[str] = set()
    reached: dict[tuple[str, str], int] = defaultdict(int)
    if evidence.dumps.bus is None:
        return
    for envelope in evidence.dumps.bus:
        row = rows.get(envelope.get("id", ""))
        if row is None:
            findings.add("I7", f"{envelope.get('id')} was published, and never committed")
            continue
        if not _same(envelope, row):
            findings.add("I7", f"{row.event_id} was published with other content than committed")
        if row.event_id in delivered:
            continue
        delivered.add(row.event_id)
        name = row.aggregate_type, row.aggregate_id
        if row.sequence != reached[name] + 1:
            findings.add(
                "I8",
                f"{row.aggregate_id}: number {row.sequence} was first published after number {reached[name]}",
            )
        reached[name] = max(reached[name], row.sequence)
    for row in evidence.dumps.outbox:
        if row.event_id not in delivered:
            marked = "although it is marked as published" if row.published_at else "and waits"
            findings.add(
                "I7", f"{row.event_id} ({row.type}) was committed and never published, {marked}"
            )


def _same(envelope: dict[str, Any], row: OutboxRow) -> bool:
    return (
        envelope.get("type") == row.type
        and envelope.get("version") == row.version
        and envelope.get("tenant_id") == row.tenant_id
        and envelope.get("aggregate") == {"type": row.aggregate_type, "id": row.aggregate_id}
        and envelope.get("sequence") == row.sequence
        and envelope.get("data") == row.data
        and abs(instant(envelope.get("occurred_at")) - row.occurred_at)
        < 1000  # the envelope has milliseconds
    )


def _check_sequences(evidence: Evidence, findings: Findings) -> None:
    aggregates: dict[tuple[str, str], list[OutboxRow]] = defaultdict(list)
    for row in evidence.dumps.outbox:
        aggregates[row.aggregate_type, row.aggregate_id].append(row)
        if row.position is None:
            findings.add("I7", f"{row.event_id} was committed and never got a position")
    for (_, aggregate_id), rows in aggregates.items():
        rows.sort(key=lambda row: row.sequence)
        if [row.sequence for row in rows] != list(range(1, len(rows) + 1)):
            findings.add(
                "I8", f"{aggregate_id}: its facts are numbered {[r.sequence for r in rows]}"
            )
        positions = [row.position for row in rows if row.position is not None]
        if positions != sorted(positions):
            findings.add(
                "I8",
                f"{aggregate_id}: its facts have positions in another order than their sequence",
            )
    positions = [row.position for row in evidence.dumps.outbox if row.position is not None]
    if len(set(positions)) < len(positions):
        findings.add("I8", "two facts have the same position")


def _check_lines(evidence: Evidence, findings: Findings) -> None:
    """A booking's facts have its seats."""
    for row in evidence.dumps.outbox:
        booking = evidence.booking_rows.get(row.aggregate_id)
        if booking is None or row.aggregate_type != "booking":
            continue
        answered = []
        for segment in row.data.get("segments", ()):
            place = evidence.places.get(segment["flight_id"], {}).get(segment["booking_class"])
            if place is not None:
                answered.append((segment["flight_id"], *place, segment["seats"]))
        if sorted(answered) != sorted(booking.lines) or row.tenant_id != booking.tenant_id:
            findings.add("I7", f"{row.event_id} has other seats than {booking.booking_id}")


def _check_pages(evidence: Evidence, findings: Findings) -> None:
    rows = {row.event_id for row in evidence.listed}
    orders: dict[tuple[str, frozenset[str]], list[str]] = {}
    ends: dict[tuple[str, str], str | None] = {}  # by tenant and cursor: the last fact before it
    pages = [one for one in evidence.operations if one.kind == "events" and one.outcome == "ok"]
    pages.sort(key=lambda one: one.completed_at or one.invoked_at)
    for one in pages:
        answered = [event.get("id", "") for event in (one.answer or {}).get("data", ())]
        if any(event_id not in rows for event_id in answered):
            findings.add("I7", "a fact was listed that was never committed", one)
            continue
        asked = _query(one)
        kinds = frozenset(asked.get("type", ()))
        order = orders.get((one.tenant, kinds))
        if order is None:
            order = orders[one.tenant, kinds] = _order(evidence, one.tenant, kinds)
        cursor = asked.get("after", [None])[-1]
        known = cursor is None or (one.tenant, cursor) in ends
        before = None if cursor is None else ends.get((one.tenant, cursor))
        if known:
            begin = 0 if before is None else order.index(before) + 1
            if order[begin : begin + len(answered)] != answered:
                findings.add("I8", "a page of facts omits a fact, or has it in another order", one)
        following = ((one.answer or {}).get("meta") or {}).get("after")
        if following is not None and known:
            ends[one.tenant, following] = answered[-1] if answered else before


def _order(evidence: Evidence, tenant: str, kinds: frozenset[str]) -> list[str]:
    shared = tenant in evidence.terms.shared_readers
    mine = [
        row
        for row in evidence.listed
        if row.position is not None
        and (row.tenant_id == tenant or (shared and row.tenant_id is None))
        and (not kinds or row.type in kinds)
    ]
    return [row.event_id for row in sorted(mine, key=lambda row: row.position or 0)]


def _query(operation: Operation) -> dict[str, list[str]]:
    """The parameters of a list, recorded as the text of the query or as members."""
    if "query" in operation.request:
        return parse_qs(str(operation.request["query"]).removeprefix("?"))
    return {
        name: [str(one) for one in value] if isinstance(value, list) else [str(value)]
        for name, value in operation.request.items()
        if value is not None
    }
