"""I6, the other half: seats that are certainly free are not refused.

`sold_out` is judged against the most that can have been taken while it was answered: every hold that
may have had its effect, until it has certainly ended. What a fault may have left behind counts until
the repairs had their time; a booking counts twice for a moment, because Redis may learn of the sale
before the hold is finished.
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
    requested, told = error.get("requested"), error.get("open")
    if not isinstance(requested, int) or not isinstance(told, int) or told >= requested:
        findings.add("I6", f"sold_out tells of {told} open and {requested} asked for", operation)
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
            f" {free} were free all the while",
            operation,
        )


class _PossiblyTaken:
    """By cabin and class, when seats may have begun and have certainly ceased to be somebody's."""

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
        """At most so many by class, at any moment between the two."""
        return [
            _sum_until(self._starts.get((name, position)), end, strictly=False)
            - _sum_until(self._ends.get((name, position)), start, strictly=True)
            for position in range(1, size + 1)
        ]

    def _spans(self, deliveries: Deliveries) -> list[tuple[Line, float, float]]:
        tried = [one for one in deliveries.operations if may_have_happened(one)]
        if not tried:
            return self._held_for_nobody(deliveries)
        told = deliveries.acknowledged
        story = self._evidence.holds.get((told[0].answer or {}).get("id", "")) if told else None
        if story is None:
            until = self._forgotten(tried)  # any of them, where one key had several requests
            asked = dict.fromkeys(line for one in tried for line in self._evidence.lines(one))
            return [(line, tried[0].invoked_at, until) for line in asked]
        spans = [(line, tried[0].invoked_at, self._gone(story)) for line in story.lines]
        booked = [one for one in story.of("book") if may_have_happened(one)]
        if booked:  # sold and held at once, until the hold is finished
            begun, ended = booked[0].invoked_at, self._mended(booked)
            spans += [(line, begun, ended) for line in story.lines]
        return spans

    def _held_for_nobody(self, deliveries: Deliveries) -> list[tuple[Line, float, float]]:
        """A grant that its process slept on: it ended before it was promised, and what was asked for was
        refused when the process woke up.
        """
        ttl = self._evidence.terms.hold_ttl_seconds
        return [
            (line, one.invoked_at, one.completed_at)
            for one in deliveries.operations
            if one.completed_at is not None and one.completed_at - one.invoked_at >= ttl
            for line in self._evidence.lines(one)
        ]

    def _forgotten(self, tried: list[Operation]) -> float:
        """A grant that no client heard of: swept, or promised and then expired."""
        quiet, terms = self._mended(tried), self._evidence.terms
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
        return max(ended, self._mended(booked)) if booked else ended

    def _given_back(self, operation: Operation) -> float:
        """A release or a cancel tells Redis before it is answered, unless Redis is away."""
        completed = operation.completed_at or inf
        if self._evidence.quiet.during(operation.invoked_at, completed):
            return completed
        return self._evidence.quiet.after(completed)

    def _mended(self, operations: list[Operation]) -> float:
        """When whatever these left behind has been repaired. A lost answer may still be worked on."""
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
