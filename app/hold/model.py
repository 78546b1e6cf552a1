"""Holds as values: what is asked, what is kept, and what each script may answer.

Instants of the hold store are datetimes here and whole microseconds in Redis; both are exact.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from app.ids import BookingId, FlightId, HoldId, TenantId
from app.inventory.itinerary import PassengerCounts, Price, Segment
from app.inventory.model import SeatLine

EXTENSIONS_MAX = 1
DIGEST_LENGTH = 16  # of a request's hash, as Redis keeps it


class JournalState(StrEnum):
    """Where a journal row stands; it leaves HELD exactly once."""

    HELD = "HELD"
    CONFIRMED = "CONFIRMED"
    RELEASED = "RELEASED"
    EXPIRED = "EXPIRED"
    ABORTED = "ABORTED"  # granted in Redis, never promised to anyone


class MemoState(StrEnum):
    """Where Redis sees a hold, at the instant it was asked."""

    HELD = "HELD"
    PINNED = "PINNED"
    SOLD = "SOLD"
    RELEASED = "RELEASED"
    EXPIRED = "EXPIRED"
    ABORTED = "ABORTED"
    UNKNOWN = "UNKNOWN"


class HoldStatus(StrEnum):
    ACTIVE = "active"
    BOOKED = "booked"
    RELEASED = "released"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class ClassChoice:
    """One segment a client asks for by name."""

    flight_id: FlightId
    booking_class: str


@dataclass(frozen=True, slots=True)
class OfferTerms:
    """What a signed offer says: the same choice, at a price, at these times.

    `times` is a digest of stations and times; `outbound_segments` counts the segments of the first slice.
    """

    segments: tuple[ClassChoice, ...]
    passengers: PassengerCounts
    price: Price
    expires_at: datetime
    times: int
    outbound_segments: int


@dataclass(frozen=True, slots=True)
class HoldRequest:
    """Either an offer's id, or segments and passengers."""

    offer_id: str | None
    segments: tuple[ClassChoice, ...]
    passengers: PassengerCounts | None
    client_reference: str | None = None


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """A journal row: what was promised, to whom, by which grant."""

    hold_id: HoldId
    tenant_id: TenantId
    idempotency_key: str
    attempt: int
    request_hash: str
    client_reference: str | None
    lines: tuple[SeatLine, ...]
    segments: tuple[Segment, ...]
    passengers: PassengerCounts
    price: Price
    epoch: int
    granted_at: datetime
    expires_at: datetime
    first_expires_at: datetime
    extensions_used: int = 0
    fencing_token: int = 1
    state: JournalState = JournalState.HELD


class LiveHold(NamedTuple):
    """What Redis keeps of a live journal entry; a tuple, since a rebuild reads very many of them."""

    hold_id: HoldId
    lines: list[list[Any]]  # [[flight_id, cabin, position, seats], ...]
    granted_at: datetime
    expires_at: datetime
    fencing_token: int
    extensions_used: int
    request_hash: str


@dataclass(frozen=True, slots=True)
class Grant:
    """When a promise was granted, and until when, by the scripts' clock."""

    hold_id: HoldId
    granted_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Hold:
    """What a client sees."""

    hold_id: HoldId
    status: HoldStatus
    segments: tuple[Segment, ...]
    passengers: PassengerCounts
    price: Price
    expires_at: datetime
    expires_in_seconds: int
    price_guaranteed_until: datetime
    extensions_remaining: int
    client_reference: str | None
    booking_id: BookingId | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Granted:
    """All lines are held from `granted_at` until `expires_at`, by the script's clock."""

    expires_at: datetime
    granted_at: datetime


@dataclass(frozen=True, slots=True)
class Remembered:
    """The id was asked before; times are missing where only a tombstone is left."""

    state: MemoState
    expires_at: datetime | None
    granted_at: datetime | None
    request: str


@dataclass(frozen=True, slots=True)
class Full:
    """At least one line does not fit; `open_seats` has one number a line.

    `is_new`: as far as this epoch's data knows, no attempt of the key was granted a hold in the last day.
    """

    open_seats: tuple[int, ...]
    next_release_at: datetime | None
    is_new: bool = False


@dataclass(frozen=True, slots=True)
class Stale:
    """A flight's terms in Redis are not the ones the request was priced on."""


@dataclass(frozen=True, slots=True)
class Blocked:
    """A write barrier blocks one of the flights: its shape is being changed."""


PlaceOutcome = Granted | Remembered | Full | Stale | Blocked


@dataclass(frozen=True, slots=True)
class Extended:
    expires_at: datetime
    now: datetime


@dataclass(frozen=True, slots=True)
class Pinned:
    """Out of reach of expiry; the fencing token goes into the WHERE of the booking's transaction."""

    fencing_token: int


@dataclass(frozen=True, slots=True)
class MemoReading:
    """One hold as Redis saw it at `now`."""

    state: MemoState
    expires_at: datetime | None
    now: datetime


def microseconds(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(microseconds=1)


def instant_of(number: int) -> datetime:
    return _EPOCH + timedelta(microseconds=number)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
