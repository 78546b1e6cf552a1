"""What a fact is, before and after it was written.

A feature appends a `Fact`; an `Event` is the envelope that leaves: on a bus, and in `GET /v1/events`.
No passenger data and no record locator in either.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from app.clock import instant_text
from app.ids import EventId, TenantId, event_id


class EventType(StrEnum):
    """What can be told; a closed list, so that a filter can be judged."""

    BOOKING_CONFIRMED = "booking.confirmed"
    BOOKING_CANCELLED = "booking.cancelled"
    FLIGHT_INVENTORY_CHANGED = "flight.inventory_changed"


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that is true once the transaction commits that appends it.

    `sequence` counts from 1 within the aggregate without gaps: the appender takes it under a lock on
    the aggregate's row, held until commit, and keeps `occurred_at` from going back within the aggregate.
    `tenant_id` is None for what all tenants share. `data` holds JSON values.
    """

    type: EventType
    version: int
    tenant_id: TenantId | None
    aggregate_type: str
    aggregate_id: str
    sequence: int
    occurred_at: datetime
    data: Mapping[str, Any]

    def __post_init__(self) -> None:
        assert self.sequence >= 1, "a sequence counts from 1"
        assert self.occurred_at.tzinfo is not None, "a fact's moment is an aware datetime"

    @property
    def event_id(self) -> EventId:
        return event_id(self.aggregate_id, self.sequence)


@dataclass(frozen=True, slots=True)
class Aggregate:
    """The thing that facts are about, and within which they are ordered."""

    type: str
    id: str


@dataclass(frozen=True, slots=True)
class Event:
    """The envelope. `type` is text: a newer writer's facts pass an older relay unharmed."""

    id: EventId
    type: str
    version: int
    occurred_at: datetime
    tenant_id: TenantId | None
    aggregate: Aggregate
    sequence: int
    data: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The same on every bus and in `GET /v1/events`."""
        return {
            "id": self.id,
            "type": self.type,
            "version": self.version,
            "occurred_at": instant_text(self.occurred_at),
            "tenant_id": self.tenant_id,
            "aggregate": {"type": self.aggregate.type, "id": self.aggregate.id},
            "sequence": self.sequence,
            "data": dict(self.data),
        }


@dataclass(frozen=True, slots=True)
class Entry:
    """An event at its place in the outbox; `attempts` counts the bus's refusals."""

    position: int
    attempts: int
    event: Event


@dataclass(frozen=True, slots=True)
class Due:
    """An event that may leave now; most get their position only when it is known what became of them."""

    event: Event
    position: int | None
    attempts: int


@dataclass(frozen=True, slots=True)
class Unnumbered:
    """A committed fact that waits for its position.

    `follows` says that nothing of its aggregate has to come before it any more: it is the first, or the
    one before it has a position.
    """

    event_id: EventId
    aggregate: Aggregate
    sequence: int
    follows: bool


def in_sequence(waiting: Iterable[Unnumbered]) -> Sequence[Unnumbered]:
    """Those that may be numbered together, in an order that keeps every aggregate's sequence.

    The order given is kept but for a fact that stands before its predecessor, which then comes right
    behind it. A fact whose predecessor is neither numbered nor here is left out, and so are its
    successors; nothing else waits for them. Any prefix of the answer is as good as the whole.
    """
    taken: list[Unnumbered] = []
    reached: dict[Aggregate, int] = {}  # the last sequence taken
    held_back: dict[tuple[Aggregate, int], Unnumbered] = {}
    for fact in waiting:
        if not fact.follows and reached.get(fact.aggregate) != fact.sequence - 1:
            held_back[fact.aggregate, fact.sequence] = fact
            continue
        ready: Unnumbered | None = fact
        while ready is not None:
            taken.append(ready)
            reached[ready.aggregate] = ready.sequence
            ready = held_back.pop((ready.aggregate, ready.sequence + 1), None)
    return taken
