"""Events, before and after they are written.

A feature appends a `Fact`; an `Event` is the envelope that is published on a bus and in `GET /v1/events`.
Neither contains passenger data or a record locator.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from app.clock import instant_text
from app.ids import EventId, TenantId, event_id


class EventType(StrEnum):
    """A closed list, so that a filter can be validated."""

    BOOKING_CONFIRMED = "booking.confirmed"
    BOOKING_CANCELLED = "booking.cancelled"
    FLIGHT_INVENTORY_CHANGED = "flight.inventory_changed"


@dataclass(frozen=True, slots=True)
class Fact:
    """An event that is true once the transaction that appends it has committed.

    `sequence` counts from 1 within the aggregate without gaps: the appender takes it under a lock on the
    aggregate's row, held until commit, and never lets `occurred_at` decrease within the aggregate.
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
        assert self.occurred_at.tzinfo is not None, "occurred_at is an aware datetime"

    @property
    def event_id(self) -> EventId:
        return event_id(self.aggregate_id, self.sequence)


@dataclass(frozen=True, slots=True)
class Aggregate:
    """What events are about. They are ordered within it."""

    type: str
    id: str


@dataclass(frozen=True, slots=True)
class Event:
    """The envelope. `type` is text: an older relay publishes the types of a newer writer unchanged."""

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
    """An event at its position in the outbox; `attempts` counts the bus's refusals."""

    position: int
    attempts: int
    event: Event


@dataclass(frozen=True, slots=True)
class Due:
    """An event that may be published now; most get their position only with the outcome."""

    event: Event
    position: int | None
    attempts: int


@dataclass(frozen=True, slots=True)
class Unnumbered:
    """A committed fact that waits for its position.

    `follows` says that it may get the next position: it is the first of its aggregate, or its predecessor
    has a position.
    """

    event_id: EventId
    aggregate: Aggregate
    sequence: int
    follows: bool


def in_sequence(waiting: Iterable[Unnumbered]) -> Sequence[Unnumbered]:
    """The facts that may be numbered now, in an order that keeps every aggregate's sequence.

    The given order is kept, except that a fact that comes before its predecessor is moved right behind it.
    A fact whose predecessor neither has a position nor is in `waiting` is left out, with its successors;
    other facts do not wait for them. Any prefix of the result may be numbered.
    """
    ordered: list[Unnumbered] = []
    reached: dict[Aggregate, int] = {}  # the last sequence in the result
    held_back: dict[tuple[Aggregate, int], Unnumbered] = {}
    for fact in waiting:
        if not fact.follows and reached.get(fact.aggregate) != fact.sequence - 1:
            held_back[fact.aggregate, fact.sequence] = fact
            continue
        ready: Unnumbered | None = fact
        while ready is not None:
            ordered.append(ready)
            reached[ready.aggregate] = ready.sequence
            ready = held_back.pop((ready.aggregate, ready.sequence + 1), None)
    return ordered
