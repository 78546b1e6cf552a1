"""I1 and I11, the counts: sold ≤ ceiling in every row, and every number in both stores adds up.

I11 is judged at rest. A hold that expires about the time of the dump may be counted or not. An answer to an
administrator must agree with its own numbers at any time.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Final

from app.inventory.model import SEATS_SHOWN_MAX, open_seats
from tests.faults.checker.evidence import Evidence
from tests.faults.checker.model import Findings
from tests.faults.dumps import InventoryRow, Line, RedisCabin
from tests.faults.history import Operation

EXPIRER_LATE_US: Final = 2_000_000  # expired holds are reclaimed within this time
LIVE: Final = ("HELD", "PINNED")

Cabin = tuple[str, str]


def check_sold(evidence: Evidence, findings: Findings) -> None:
    booked = _by_cabin(
        line for row in evidence.dumps.bookings if row.status == "confirmed" for line in row.lines
    )
    known = {(row.flight_id, row.cabin) for row in evidence.dumps.inventory}
    for row in evidence.dumps.inventory:
        where = f"{row.flight_id} {row.cabin}"
        nested = list(accumulate(reversed(row.sold)))[::-1]
        for letter, sold, ceiling in zip(row.booking_classes, nested, row.ceilings, strict=True):
            if sold > ceiling:
                findings.add(
                    "I1", f"{where}: {sold} seats sold from class {letter} down, {ceiling} allowed"
                )
        if min(row.sold, default=0) < 0:
            findings.add("I1", f"{where}: fewer than no seats sold: {row.sold}")
        if row.sold_total != sum(row.sold) or row.ceiling_total != row.ceilings[0]:
            findings.add(
                "I1", f"{where}: the totals of the constraint are not those of the classes"
            )
        for letter, limit, ceiling in zip(
            row.booking_classes, row.limits, row.ceilings, strict=True
        ):
            if ceiling < limit:
                findings.add(
                    "I1", f"{where}: class {letter} has the limit {limit} and the ceiling {ceiling}"
                )
        _check_most(evidence, findings, row)
        counted = _per_class(booked.get((row.flight_id, row.cabin), ()), len(row.sold))
        if counted != list(row.sold):
            findings.add(
                "I1", f"{where}: {list(row.sold)} seats sold by class, but {counted} in bookings"
            )
    for flight_id, cabin in booked.keys() - known:
        findings.add("I1", f"{flight_id} {cabin}: seats are booked that were never on sale")


def _check_most(evidence: Evidence, findings: Findings, row: InventoryRow) -> None:
    most = evidence.limits[row.flight_id, row.cabin][1]
    for letter, ceiling, limit in zip(row.booking_classes, row.ceilings, most, strict=True):
        if ceiling > limit:
            findings.add(
                "I1",
                f"{row.flight_id} {row.cabin}: class {letter} has the ceiling {ceiling},"
                f" and no limit was ever above {limit}",
            )


def check_numbers(evidence: Evidence, findings: Findings) -> None:
    for operation in evidence.operations:
        if operation.outcome == "ok" and operation.kind in ("availability", "patch"):
            _check_answer(findings, operation)
    redis, epoch = evidence.dumps.redis, evidence.dumps.epoch
    if redis is None or redis.epoch is None or epoch is None or epoch.mode != "redis":
        return  # I10 reports that, if it is a violation
    due = redis.now - EXPIRER_LATE_US
    journaled = [row for row in evidence.dumps.hold_journal if row.state == "HELD"]
    certain = _by_cabin(ln for row in journaled if row.expires_at > redis.now for ln in row.lines)
    possible = _by_cabin(ln for row in journaled if row.expires_at > due for ln in row.lines)
    live = {hold_id: memo for hold_id, memo in redis.memos.items() if memo.state in LIVE}
    in_memos = _by_cabin(line for memo in live.values() for line in memo.lines)
    for row in evidence.dumps.inventory:
        name = row.flight_id, row.cabin
        here = redis.flights.get(row.flight_id, {}).get(row.cabin)
        if here is None:
            if certain.get(name):
                findings.add(
                    "I11", f"{row.flight_id} {row.cabin}: seats are held, and Redis has no row"
                )
            continue
        _check_cabin(findings, row, here)
        size = len(row.sold)
        _check_held(
            findings,
            row,
            here.held,
            _per_class(in_memos.get(name, ()), size),
            _per_class(certain.get(name, ()), size),
            _per_class(possible.get(name, ()), size),
        )
    for hold_id, memo in live.items():
        for line in memo.lines:
            if memo.state == "HELD" and hold_id not in redis.expiries.get(line.flight_id, {}):
                findings.add(
                    "I11",
                    f"{hold_id} is held on {line.flight_id}, and is not scheduled to expire there",
                )


def _check_cabin(findings: Findings, row: InventoryRow, here: RedisCabin) -> None:
    where = f"{row.flight_id} {row.cabin}"
    for name, theirs, ours in (
        ("limits", here.limits, row.limits),
        ("sold", here.sold, row.sold),
    ):
        if theirs != ours:
            findings.add("I11", f"{where}: {name} {theirs} in Redis, {ours} in PostgreSQL")
    if here.version > row.version:
        findings.add("I11", f"{where}: Redis has a version that PostgreSQL never had")


def _check_held(
    findings: Findings,
    row: InventoryRow,
    held: Sequence[int],
    in_memos: Sequence[int],
    certain: Sequence[int],
    possible: Sequence[int],
) -> None:
    where = f"{row.flight_id} {row.cabin}"
    if list(held) != list(in_memos):
        findings.add(
            "I11",
            f"{where}: Redis counts {list(held)} held by class, its holds have {list(in_memos)}",
        )
    for letter, here, least, most in zip(
        row.booking_classes, held, certain, possible, strict=False
    ):
        if here > most:
            findings.add(
                "I6",
                f"{where}: class {letter} has {here} seats held at rest, {most} by live holds: leaked",
            )
        elif here < least:
            findings.add(
                "I11",
                f"{where}: class {letter} has {here} seats held in Redis, {least} in the journal",
            )


def _check_answer(findings: Findings, operation: Operation) -> None:
    for cabin in (operation.answer or {}).get("cabins", ()):
        classes = cabin.get("booking_classes", ())
        if not all({"limit", "sold", "held", "open"} <= one.keys() for one in classes):
            continue
        taken = [one["sold"] + one["held"] for one in classes]
        expected = open_seats([one["limit"] for one in classes], taken)
        for one, seats in zip(classes, expected, strict=True):
            if one["open"] != min(seats, SEATS_SHOWN_MAX):
                findings.add(
                    "I11",
                    f"class {one['booking_class']} was answered to have {one['open']} seats open,"
                    f" and the answer's own numbers leave {seats}",
                    operation,
                )


def _by_cabin(lines: Iterable[Line]) -> dict[Cabin, list[Line]]:
    found: dict[Cabin, list[Line]] = defaultdict(list)
    for line in lines:
        found[line.flight_id, line.cabin].append(line)
    return found


def _per_class(lines: Iterable[Line], size: int) -> list[int]:
    counted = [0] * size
    for line in lines:
        if 1 <= line.position <= size:
            counted[line.position - 1] += line.seats
    return counted
