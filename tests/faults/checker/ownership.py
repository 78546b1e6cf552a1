"""I2 and the first half of I6: no seat is granted while another hold or booking certainly owns it.

An acknowledged hold certainly owns its seats from its acknowledgement until its release is requested or its
promised end, and if it was booked, until a cancel is requested. Overlaps are searched twice, by two clocks:
the hold store's (from `created_at` to `expires_at`, exact for holds that expired), and the runner's (from
acknowledgement to request, exact for holds that were released). Both count only what is certain, so that
every overlap is a violation.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from tests.faults.checker.evidence import Evidence, HoldStory, clock_text, may_have_happened
from tests.faults.checker.model import Findings
from tests.faults.dumps import Line
from tests.faults.history import Operation


@dataclass(frozen=True, slots=True)
class Owner:
    """Seats of one class that certainly had an owner from `start` up to `end`."""

    start: float
    end: float
    position: int
    seats: int
    witness: Operation | None
    hold_id: str


def check_owners(evidence: Evidence, findings: Findings) -> None:
    by_store: dict[tuple[str, str], list[Owner]] = defaultdict(list)
    by_runner: dict[tuple[str, str], list[Owner]] = defaultdict(list)
    for story in evidence.holds.values():
        released = _asked_to_end(evidence, story)
        booked = evidence.booking_of_hold.get(story.hold_id) is not None or any(
            one.outcome == "ok" for one in story.of("book")
        )
        store_end = inf if released is None else float(evidence.clock.at_least(released))
        runner_end = inf if released is None else released
        if not booked:
            store_end = min(store_end, float(story.promised_until))
            last, _ = evidence.clock.certainly_before(
                story.promised_until, story.deliveries.first_invoked, story.created_at
            )
            runner_end = min(runner_end, last)
        for line in story.lines:
            name = line.flight_id, line.cabin
            by_store[name].append(_owner(story, line, story.created_at, store_end))
            by_runner[name].append(_owner(story, line, story.acknowledged_at, runner_end))
    for name in sorted(by_store):
        most = evidence.limits.get(name)
        if most is None:
            continue
        _sweep(findings, name, most[1], by_store[name], "hold store's clock")
        _sweep(findings, name, most[1], by_runner[name], "runner's clock")


def _owner(story: HoldStory, line: Line, start: float, end: float) -> Owner:
    return Owner(start, end, line.position, line.seats, story.granted, story.hold_id)


def _asked_to_end(evidence: Evidence, story: HoldStory) -> float | None:
    """The time of the first request that may have released the seats."""
    asked = [one.invoked_at for one in story.of("release") if may_have_happened(one)]
    row = evidence.booking_of_hold.get(story.hold_id)
    booking_ids = {row.booking_id} if row is not None else set()
    booking_ids |= {
        one.answer["id"] for one in story.of("book") if one.outcome == "ok" and one.answer
    }
    for booking_id in booking_ids:
        asked += [
            one.invoked_at
            for one in evidence.by_booking.get(booking_id, ())
            if one.kind == "cancel" and may_have_happened(one)
        ]
    return min(asked, default=None)


def _sweep(
    findings: Findings,
    name: tuple[str, str],
    limits: list[int],
    owners: Iterable[Owner],
    clock: str,
) -> None:
    """Check the sum of owned seats wherever an owner begins: it grows nowhere else."""
    events: list[tuple[float, int, int]] = []
    known = [owner for owner in owners if owner.start < owner.end]
    for index, owner in enumerate(known):
        events.append((owner.start, 1, index))
        events.append((owner.end, 0, index))
    taken = [0] * len(limits)
    present: set[int] = set()
    for moment, begins, index in sorted(events):
        owner = known[index]
        if not 1 <= owner.position <= len(limits):
            continue
        if not begins:
            taken[owner.position - 1] -= owner.seats
            present.discard(index)
            continue
        taken[owner.position - 1] += owner.seats
        present.add(index)
        below = sum(taken[owner.position - 1 :])
        for position in range(owner.position, 0, -1):
            if position < owner.position:
                below += taken[position - 1]
            if below > limits[position - 1]:
                at = clock_text(int(moment)) if clock.startswith("hold") else f"{moment:.3f}"
                shown = _fewest(known, present, position, limits[position - 1], owner)
                findings.add(
                    "I2",
                    f"{name[0]} {name[1]}: at {at} by the {clock}, {below} seats from class"
                    f" number {position} down belonged to acknowledged holds and bookings, and"
                    f" there are {limits[position - 1]}",
                    *(one.witness for one in shown),
                )
                return


def _fewest(
    known: list[Owner], present: set[int], position: int, limit: int, last: Owner
) -> list[Owner]:
    """The last owner, and as few of the others as exceed the limit together with it."""
    others = [known[index] for index in present if known[index] is not last]
    others = [one for one in others if one.position >= position]
    shown, seats = [last], last.seats
    for one in sorted(others, key=lambda one: -one.seats):
        if seats > limit:
            break
        shown.append(one)
        seats += one.seats
    return shown
