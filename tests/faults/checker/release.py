"""I6, the other half: seats that are certainly free are not refused.

`sold_out` is compared with the most seats that can have been taken during the request: every hold that may
have had its effect, until it has certainly ended. Leftovers of a fault count until the repairs had their
time; a booking briefly counts twice, because Redis may have the sale before the hold is finished.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable
from itertools import accumulate
from math import inf

from app.inventory.model import open_seats
from tests.faults.checker.evidence import Deliveries, Evidence, HoldStory, may_have_happened
from tests.faults.checker.model import Findings
from tests.faults.dumps import Line
from tests.faults.history import Operation

Cabin = tuple[str, str]


def check_refusals(evidence: Evidence, findings: Findings) -> None:
    taken = _PossiblyTaken(evidence)
    for operation in evidence.operations:
        if operation.kind != "hold" or operation.code != "sold_out":
            continue
        for error in (operation.answer or {}).get("errors", ()):
            _check(evidence, findings, taken, operation, error)


def _check(
    evidence: Evidence,
    findings: Findings,
    taken: "_PossiblyTaken",
    operation: Operation,
    error: dict[str, object],
) -> None:
    flight_id, letter = str(error.get("flight_id")), str(error.get("booking_class"))
    requested, answered = error.get("requested"), error.get("open")
    if not isinstance(requested, int) or not isinstance(answered, int) or answered >= requested:
        findings.add("I6", f"sold_out says {answered} open and {requested} requested", operation)
        return
    place = evidence.places.get(flight_id, {}).get(letter)
    if place is None or operation.completed_at is None:
        return
    name = flight_id, place.cabin
    least = evidence.limits[name][0]
    most = taken.during(name, len(least), operation.invoked_at, operation.completed_at)
    free = open_seats(least, most)[place.position - 1]
    if free >= requested:
        findings.add(
            "I6",
            f"{requested} seats of {flight_id} class {letter} were refused as sold out, and at least"
            f" {free} were free all the time",
            operation,
        )


class _PossiblyTaken:
    """By cabin and class: from when seats may have been taken until they were certainly free."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        spans: dict[tuple[Cabin, int], list[tuple[float, float, int]]] = defaultdict(list)
        for deliveries in evidence.deliveries.values():
            if deliveries.kind == "hold":
                for line, start, end in self._spans(deliveries):
                    name = (line.flight_id, line.cabin)
                    spans[name, line.position].append((start, end, line.seats))
        self._starts = {name: _summed((s, n) for s, _, n in some) for name, some in spans.items()}
        self._ends = {name: _summed((e, n) for _, e, n in some) for name, some in spans.items()}

    def during(self, name: Cabin, size: int, start: float, end: float) -> list[int]:
        """The most seats taken by class, at any time between the two."""
        return [
            _sum_until(self._starts.get((name, position)), end, strictly=False)
            - _sum_until(self._ends.get((name, position)), start, strictly=True)
            for position in range(1, size + 1)
        ]

    def _spans(self, deliveries: Deliveries) -> list[tuple[Line, float, float]]:
        tried = [one for one in deliveries.operations if may_have_happened(one)]
        if not tried:
            return self._held_without_owner(deliveries)
        answered = deliveries.acknowledged
        story = (
            self._evidence.holds.get((answered[0].answer or {}).get("id", "")) if answered else None
        )
        if story is None:
            until = self._forgotten(tried)  # any of them, if one key had several requests
            asked = dict.fromkeys(line for one in tried for line in self._evidence.lines(one))
            return [(line, tried[0].invoked_at, until) for line in asked]
        spans = [(line, tried[0].invoked_at, self._gone(story)) for line in story.lines]
        booked = [one for one in story.of("book") if may_have_happened(one)]
        if booked:  # counted as sold and as held until the hold is finished
            begun, ended = booked[0].invoked_at, self._repaired(booked)
            spans += [(line, begun, ended) for line in story.lines]
        return spans

    def _held_without_owner(self, deliveries: Deliveries) -> list[tuple[Line, float, float]]:
        """A grant whose process was frozen: it ended before it was journaled, and the request was refused
        when the process resumed.
        """
        ttl = self._evidence.terms.hold_ttl_seconds
        return [
            (line, one.invoked_at, one.completed_at)
            for one in deliveries.operations
            if one.completed_at is not None and one.completed_at - one.invoked_at >= ttl
            for line in self._evidence.lines(one)
        ]

    def _forgotten(self, tried: list[Operation]) -> float:
        """The end of a grant that was never answered: it is swept, or journaled and then expires."""
        quiet, terms = self._repaired(tried), self._evidence.terms
        if terms.clocks_moved:
            return inf
        return quiet + terms.hold_ttl_seconds + terms.deadline_seconds

    def _gone(self, story: HoldStory) -> float:
        evidence = self._evidence
        row = evidence.booking_of_hold.get(story.hold_id)
        if row is not None:
            cancels = [one for one in evidence.by_booking[row.booking_id] if one.kind == "cancel"]
            done = [one for one in cancels if one.outcome == "ok"]
            return self._given_back(done[0]) if done else inf
        ended = evidence.clock.reached_from(
            evidence.possible_end(story), story.acknowledged_at, story.created_at
        )
        released = [one for one in story.of("release") if one.outcome == "ok"]
        if released:
            ended = min(ended, self._given_back(released[0]))
        booked = [one for one in story.of("book") if may_have_happened(one) or one.status == 409]
        return max(ended, self._repaired(booked)) if booked else ended

    def _given_back(self, operation: Operation) -> float:
        """A release or a cancel reaches Redis before its answer, unless Redis is unreachable."""
        completed = operation.completed_at or inf
        if self._evidence.quiet.during(operation.invoked_at, completed):
            return completed
        return self._evidence.quiet.after(completed)

    def _repaired(self, operations: list[Operation]) -> float:
        """The time by which leftovers of these operations are repaired; a lost answer may still be under way."""
        deadline = self._evidence.terms.deadline_seconds
        ends = [one.completed_at or one.invoked_at + deadline for one in operations]
        return self._evidence.quiet.after(max(ends))


def _summed(points: Iterable[tuple[float, int]]) -> tuple[list[float], list[int]]:
    known = sorted(points)
    return [at for at, _ in known], list(accumulate((n for _, n in known), initial=0))


def _sum_until(
    summed: tuple[list[float], list[int]] | None, moment: float, *, strictly: bool
) -> int:
    if summed is None:
        return 0
    times, sums = summed
    return sums[bisect_left(times, moment) if strictly else bisect_right(times, moment)]
