"""The evidence for the checks, indexed once: operations by hold, booking and idempotency key.

It judges nothing. It knows what an outcome leaves open: a request with outcome `unknown` or status 503 may
have had its effect, a refusal by a 4xx has had none.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from app.hold.model import instant_of, microseconds
from tests.faults.checker.model import Terms
from tests.faults.checker.times import Quiet, StoreClock
from tests.faults.dumps import BookingRow, Dumps, JournalRow, Line, OutboxRow
from tests.faults.history import History, Operation


class Place(NamedTuple):
    """A booking class's cabin, and its position in nesting order, from 1."""

    cabin: str
    position: int


@dataclass(slots=True)
class Deliveries:
    """All deliveries of one idempotency key on one route, in the order of invocation."""

    kind: str
    tenant: str
    key: str
    operations: list[Operation] = field(default_factory=list)

    @property
    def first_invoked(self) -> float:
        return self.operations[0].invoked_at

    @property
    def acknowledged(self) -> list[Operation]:
        return [one for one in self.operations if one.outcome == "ok"]


@dataclass(slots=True)
class HoldStory:
    """One acknowledged hold, and the later requests about it."""

    hold_id: str
    tenant: str
    deliveries: Deliveries
    granted: Operation  # the first acknowledgement
    acknowledged_at: float
    created_at: int  # microseconds, by the hold store's clock
    first_expires_at: int
    lines: tuple[Line, ...]
    asked: dict[str, list[Operation]] = field(default_factory=lambda: defaultdict(list))

    def of(self, kind: str) -> list[Operation]:
        """Requests of this kind by its own tenant, in the order of invocation."""
        return self.asked.get(kind, [])

    @property
    def promised_until(self) -> int:
        """The latest end in any answer."""
        answered = [until(one) for one in self.of("extend") if one.outcome == "ok"]
        return max([self.first_expires_at, *answered])


@dataclass(frozen=True, slots=True)
class Evidence:
    operations: tuple[Operation, ...]  # by invocation
    dumps: Dumps
    listed: tuple[OutboxRow, ...]  # all facts, also of other flights: the content of the pages
    terms: Terms
    places: dict[str, dict[str, Place]]  # by flight and booking class
    limits: dict[
        tuple[str, str], tuple[list[int], list[int]]
    ]  # by cabin: the lowest and the highest limits that were ever possible
    deliveries: dict[tuple[str, str, str], Deliveries]  # by kind, tenant and key
    holds: dict[str, HoldStory]
    journal: dict[str, JournalRow]
    booking_rows: dict[str, BookingRow]
    booking_of_hold: dict[str, BookingRow]
    by_booking: dict[str, list[Operation]]  # cancel and get_booking
    clock: StoreClock
    quiet: Quiet

    def lines(
        self, operation: Operation, answered: dict[str, Any] | None = None
    ) -> tuple[Line, ...]:
        """The seats of a hold's request, or of its answer."""
        body = answered if answered is not None else operation.request
        seats = seats_of(body.get("passengers"))
        found = []
        for segment in body.get("segments") or ():
            flight_id, letter = segment.get("flight_id", ""), segment.get("booking_class", "")
            place = self.places.get(flight_id, {}).get(letter)
            if place is not None:
                found.append(Line(flight_id, place.cabin, place.position, seats))
        return tuple(found)

    def possible_end(self, story: HoldStory) -> int:
        """The latest time at which the hold may still have been live, by the hold store's clock."""
        ends = [story.promised_until]
        row = self.journal.get(story.hold_id)
        if row is not None:
            ends.append(row.expires_at)
        if any(may_have_happened(one) for one in story.of("extend")):
            ends.append(story.first_expires_at + round(self.terms.hold_ttl_seconds * 1_000_000))
        return max(ends)


def gather(history: History, dumps: Dumps, terms: Terms) -> Evidence:
    operations = tuple(sorted(history.operations(), key=lambda one: (one.invoked_at, one.number)))
    deliveries = _deliveries(operations)
    listed = dumps.outbox
    if terms.only_these_flights:
        dumps = dumps.about(terms.flights.keys())
    evidence = Evidence(
        operations=operations,
        dumps=dumps,
        listed=listed,
        terms=terms,
        places=_places(dumps, terms),
        limits=_limits(operations, dumps, terms),
        deliveries=deliveries,
        holds={},
        journal={row.hold_id: row for row in dumps.hold_journal},
        booking_rows={row.booking_id: row for row in dumps.bookings},
        booking_of_hold={row.hold_id: row for row in dumps.bookings},
        by_booking=defaultdict(list),
        clock=StoreClock(terms),
        quiet=Quiet(terms.faults, terms.repair_seconds),
    )
    for one in deliveries.values():
        if one.kind == "hold":
            _add_story(evidence, one)
    _add_questions(evidence)
    evidence.clock.learn(
        (story.deliveries.first_invoked, story.acknowledged_at, story.created_at, story.granted)
        for story in evidence.holds.values()
    )
    return evidence


def may_have_happened(operation: Operation) -> bool:
    """Whether the request may have had an effect: only a refusal by a 4xx has none."""
    return operation.status is None or not 400 <= operation.status < 500


def seats_of(passengers: Any) -> int:
    """The number of seats: infants on laps take none."""
    if isinstance(passengers, dict):
        return int(passengers.get("ADT", 0)) + int(passengers.get("CHD", 0))
    if isinstance(passengers, list):
        return sum(one.get("type") != "INF" for one in passengers)
    return 0


def until(operation: Operation) -> int:
    """The `expires_at` of an answer."""
    return instant((operation.answer or {}).get("expires_at"))


@lru_cache(maxsize=100_000)
def instant(text: str | None) -> int:
    """Microseconds since 1970; 0 if the answer has no such member, which I9 reports."""
    return microseconds(datetime.fromisoformat(text)) if isinstance(text, str) else 0


def clock_text(number: int) -> str:
    return instant_of(number).isoformat(timespec="milliseconds")


def _deliveries(operations: Iterable[Operation]) -> dict[tuple[str, str, str], Deliveries]:
    found: dict[tuple[str, str, str], Deliveries] = {}
    for one in operations:
        if one.key is not None:
            name = (one.kind, one.tenant, one.key)
            found.setdefault(name, Deliveries(*name)).operations.append(one)
    return found


def _add_story(evidence: Evidence, deliveries: Deliveries) -> None:
    answered = [
        one for one in deliveries.acknowledged if isinstance((one.answer or {}).get("id"), str)
    ]
    if not answered:
        return
    granted = min(answered, key=lambda one: one.completed_at or one.invoked_at)
    answer = granted.answer or {}
    story = HoldStory(
        hold_id=answer["id"],
        tenant=granted.tenant,
        deliveries=deliveries,
        granted=granted,
        acknowledged_at=granted.completed_at or granted.invoked_at,
        created_at=instant(answer.get("created_at")),
        first_expires_at=instant(answer.get("expires_at")),
        lines=evidence.lines(granted, answer),
    )
    evidence.holds.setdefault(story.hold_id, story)


def _add_questions(evidence: Evidence) -> None:
    for one in evidence.operations:
        if one.subject is None:
            continue
        if one.kind in ("cancel", "get_booking"):
            evidence.by_booking[one.subject].append(one)
        elif one.kind in ("extend", "release", "book", "get_hold"):
            story = evidence.holds.get(one.subject)
            if story is not None and story.tenant == one.tenant:
                story.asked[one.kind].append(one)


def _places(dumps: Dumps, terms: Terms) -> dict[str, dict[str, Place]]:
    found: dict[str, dict[str, Place]] = {}
    for flight_id, cabin, letters in [
        *((row.flight_id, row.cabin, row.booking_classes) for row in dumps.inventory),
        *(
            (flight_id, cabin, tuple(letter for letter, _ in classes))
            for flight_id, cabins in terms.flights.items()
            for cabin, classes in cabins.items()
        ),
    ]:
        for position, letter in enumerate(letters, start=1):
            found.setdefault(flight_id, {})[letter] = Place(cabin, position)
    return found


def _limits(
    operations: Sequence[Operation], dumps: Dumps, terms: Terms
) -> dict[tuple[str, str], tuple[list[int], list[int]]]:
    """Every limit that was ever requested may have been in force: no order of changes is assumed."""
    found: dict[tuple[str, str], tuple[list[int], list[int]]] = {}
    letters: dict[tuple[str, str], list[str]] = {}
    for row in dumps.inventory:
        found[row.flight_id, row.cabin] = (list(row.limits), list(row.limits))
        letters[row.flight_id, row.cabin] = list(row.booking_classes)
    for flight_id, cabins in terms.flights.items():
        for cabin, classes in cabins.items():
            letters[flight_id, cabin] = [letter for letter, _ in classes]
            _widen(found, (flight_id, cabin), dict(enumerate(limit for _, limit in classes)))
    for one in operations:
        if one.kind != "patch" or one.subject is None or not may_have_happened(one):
            continue
        for change in one.request.get("cabins", ()):
            name = (one.subject, change["cabin"])
            known = letters.get(name, [])
            asked = {
                known.index(each["booking_class"]): each["limit"]
                for each in change.get("booking_classes", ())
                if "limit" in each and each["booking_class"] in known
            }
            _widen(found, name, asked)
    return found


def _widen(
    found: dict[tuple[str, str], tuple[list[int], list[int]]],
    name: tuple[str, str],
    asked: dict[int, int],
) -> None:
    if name not in found:
        values = [asked[index] for index in sorted(asked)]
        found[name] = (values, list(values))
        return
    least, most = found[name]
    for index, limit in asked.items():
        if index < len(least):
            least[index] = min(least[index], limit)
            most[index] = max(most[index], limit)
