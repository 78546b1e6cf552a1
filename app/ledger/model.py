"""What a flight's ledger says: entries in order, and what they come to; pure values."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from app.ids import BookingId, FlightId, HoldId, TenantId
from app.inventory.model import BookingClass, CabinName


class EntryKind(StrEnum):
    HELD = "held"
    EXTENDED = "extended"
    RELEASED = "released"
    EXPIRED = "expired"
    CONFIRMED = "confirmed"
    CANCELLED = "cancelled"
    LIMIT_CHANGED = "limit_changed"


Position = tuple[int, str, int, int]
"""The place of an entry in its flight's order: microseconds, what it is about, step, line."""


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One step of some seats of one class. A changed limit has neither seats nor a hold."""

    position: Position
    at: datetime
    kind: EntryKind
    cabin: CabinName
    booking_class: BookingClass
    seats: int | None
    limit: int | None
    tenant_id: TenantId | None
    hold_id: HoldId | None
    booking_id: BookingId | None
    epoch: int | None
    sold: int  # in the cabin, when this entry was made


@dataclass(frozen=True, slots=True)
class ClassTotals:
    booking_class: BookingClass
    limit: int
    held: int
    sold: int


@dataclass(frozen=True, slots=True)
class CabinTotals:
    """`limit` and `sold` are the inventory's, the rest is counted from the journal and the bookings:
    that they agree is what an administrator looks for. `limit` is the highest class's.
    """

    cabin: CabinName
    limit: int
    sold: int
    held: int
    confirmed: int
    cancelled: int
    booking_classes: tuple[ClassTotals, ...]

    @property
    def free(self) -> int:
        """Below 0 where the limit was lowered under what is taken."""
        return self.limit - self.held - self.sold


@dataclass(frozen=True, slots=True)
class LedgerPage:
    """Entries and totals are of one moment; `after` is where the next page begins, if there is one."""

    flight_id: FlightId
    entries: Sequence[LedgerEntry]
    totals: Sequence[CabinTotals]
    after: Position | None
