"""Dated flights and the arithmetic of nested fare classes; pure values, no I/O.

Classes of a cabin are ordered from the highest fare down and *nested*: a class's `limit` is the
authorization level, the most seats that may be sold in that class and all below it. With
taken = sold + held:

    open(k) = max(0, min over j from the first class to k of (limit_j - sum of taken from j down))

The same arithmetic stands once in Lua (app/hold/redis/lua/include/nesting.lua) and is compared with this
one by property tests.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from itertools import accumulate
from typing import Any, Final, NewType

from app.ids import FlightId
from app.money import Money

BookingClass = NewType("BookingClass", str)
"""One letter, the reservation booking designator (RBD)."""

SEATS_SHOWN_MAX = 9  # airlines show "nine or more" as 9
LOW_BELOW = 5
CACHED_MAX: Final = 8192  # measured: 350 bytes each, 3 MiB when full; most cabins repeat counts


class CabinName(StrEnum):
    FIRST = "first"
    BUSINESS = "business"
    PREMIUM_ECONOMY = "premium_economy"
    ECONOMY = "economy"


class ClassStatus(StrEnum):
    OPEN = "open"
    LOW = "low"
    HELD_OUT = "held_out"  # nothing is open now; something is, if the live holds end
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class LocalTime:
    """A wall-clock time at a station, and the same instant in UTC."""

    local: datetime  # naive
    time_zone: str  # IANA name
    utc: datetime  # aware


@dataclass(frozen=True, slots=True)
class FareClass:
    booking_class: BookingClass
    limit: int
    fare: Money


@dataclass(frozen=True, slots=True)
class Cabin:
    cabin: CabinName
    capacity: int
    booking_classes: tuple[FareClass, ...]  # from the highest fare down

    def position(self, booking_class: str) -> int | None:
        """The class's place in the nesting order, counted from 1 as in SQL and Lua."""
        for position, fare_class in enumerate(self.booking_classes, start=1):
            if fare_class.booking_class == booking_class:
                return position
        return None


@dataclass(frozen=True, slots=True)
class Flight:
    """One leg on one day. `version` counts the changes of its terms: times, classes, fares, limits."""

    flight_id: FlightId
    carrier: str
    flight_number: str
    origin: str
    destination: str
    departing_at: LocalTime
    arriving_at: LocalTime
    cabins: tuple[Cabin, ...]
    version: int = 1

    def __hash__(self) -> int:
        """Hash the id and version alone: they identify the value, and a search looks up thousands."""
        return hash((self.flight_id, self.version))

    def find(self, booking_class: str) -> tuple[Cabin, int] | None:
        """The cabin that has the class, and the class's position in it; letters are unique in a flight."""
        for cabin in self.cabins:
            position = cabin.position(booking_class)
            if position is not None:
                return cabin, position
        return None

    @property
    def duration(self) -> timedelta:
        return self.arriving_at.utc - self.departing_at.utc


@dataclass(frozen=True, slots=True)
class CabinCounts:
    """The live numbers of one cabin of one flight, class by class in nesting order."""

    limits: tuple[int, ...]
    sold: tuple[int, ...]
    held: tuple[int, ...]
    flight_version: int | None = field(default=None, compare=False)  # whose limits these are

    @property
    def open(self) -> tuple[int, ...]:
        return _open(self.limits, self.sold, self.held)

    @property
    def statuses(self) -> tuple[ClassStatus, ...]:
        without_holds = open_seats(self.limits, self.sold)
        return tuple(
            _status(now, later) for now, later in zip(self.open, without_holds, strict=True)
        )


@dataclass(frozen=True, slots=True)
class InventoryRow:
    """One cabin as PostgreSQL has it. Redis accepts it if and only if `version` is newer than its own."""

    flight_id: FlightId
    cabin: CabinName
    limits: tuple[int, ...]
    sold: tuple[int, ...]
    version: int
    flight_version: int


@dataclass(frozen=True, slots=True)
class SeatLine:
    """Seats of one class on one flight, held or sold.

    `position` is the class's place in the cabin's nesting order, from 1.
    """

    flight_id: FlightId
    cabin: CabinName
    position: int
    seats: int


def lines_to_json(lines: Iterable[SeatLine]) -> list[list[Any]]:
    """One list a line, in the order of its fields."""
    return [[line.flight_id, line.cabin.value, line.position, line.seats] for line in lines]


def lines_from_json(data: Iterable[Sequence[Any]]) -> tuple[SeatLine, ...]:
    return tuple(
        SeatLine(FlightId(flight_id), CabinName(cabin), position, seats)
        for flight_id, cabin, position, seats in data
    )


def rows_of(lines: Iterable[SeatLine], rows: Iterable[InventoryRow]) -> list[InventoryRow]:
    """The rows of the flights that the lines are on."""
    flights = {line.flight_id for line in lines}
    return [row for row in rows if row.flight_id in flights]


def open_seats(limits: Sequence[int], taken: Sequence[int]) -> tuple[int, ...]:
    """Seats still open in each class, in nesting order; both sequences have one entry a class."""
    taken_from_here_down = list(accumulate(reversed(taken)))[::-1]
    slack = (limit - total for limit, total in zip(limits, taken_from_here_down, strict=True))
    return tuple(max(0, least) for least in accumulate(slack, min))


@lru_cache(maxsize=CACHED_MAX)
def _open(limits: tuple[int, ...], sold: tuple[int, ...], held: tuple[int, ...]) -> tuple[int, ...]:
    return open_seats(limits, [s + h for s, h in zip(sold, held, strict=True)])


def _status(now: int, without_holds: int) -> ClassStatus:
    if now >= LOW_BELOW:
        return ClassStatus.OPEN
    if now > 0:
        return ClassStatus.LOW
    return ClassStatus.HELD_OUT if without_holds > 0 else ClassStatus.CLOSED
