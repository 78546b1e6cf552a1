"""Schemas of the ledger of a flight.

They have ids of tenants, holds and bookings, and nothing of passengers, contacts, record locators or client
references.
"""

from pydantic import Field

from app.inventory.model import CabinName
from app.ledger import model
from app.ledger.model import EntryKind
from app.transport.http.wire.schemas import Instant, Listing, Meta, Output


class LedgerEntry(Output):
    """A change of some seats, or of the limit of a class."""

    at: Instant
    type: EntryKind
    cabin: CabinName
    booking_class: str = Field(examples=["Y"])
    seats: int | None = Field(ge=1, description="null if a limit changed.")
    limit: int | None = Field(description="The new limit; null if seats changed.")
    tenant_id: str | None = Field(description="The tenant of the hold; null if a limit changed.")
    hold_id: str | None = Field(examples=["hold_5a47ufr7dwcpjtksgnmxthdpjm"])
    booking_id: str | None = Field(description="The booking that was confirmed or cancelled.")
    epoch: int | None = Field(description="The epoch of the hold store in which it was granted.")
    sold: int = Field(description="Seats sold in the cabin after this change.")


class ClassTotals(Output):
    booking_class: str = Field(examples=["Y"])
    limit: int = Field(description="The most seats to sell in this class and all below it.")
    held: int
    sold: int


class CabinTotals(Output):
    """`limit` = `free` + `held` + `sold`, and `sold` = `confirmed` - `cancelled`."""

    cabin: CabinName
    limit: int = Field(description="The limit of the highest class, and so of the cabin.")
    free: int = Field(description="Negative if the limit was lowered below the taken seats.")
    held: int = Field(description="From the journal: at most a second behind an expiry.")
    sold: int = Field(description="As counted by the inventory.")
    confirmed: int = Field(description="Seats of all bookings, counted from the bookings.")
    cancelled: int = Field(description="Seats of cancelled bookings among them.")
    booking_classes: list[ClassTotals]


class Ledger(Listing[LedgerEntry]):
    """Entries and totals are from one snapshot."""

    totals: list[CabinTotals]


def ledger_out(page: model.LedgerPage, after: str | None) -> Ledger:
    return Ledger(
        data=[_entry_out(entry) for entry in page.entries],
        meta=Meta(after=after, has_more=after is not None),
        totals=[_totals_out(totals) for totals in page.totals],
    )


def _entry_out(entry: model.LedgerEntry) -> LedgerEntry:
    return LedgerEntry(
        at=entry.at,
        type=entry.kind,
        cabin=entry.cabin,
        booking_class=entry.booking_class,
        seats=entry.seats,
        limit=entry.limit,
        tenant_id=entry.tenant_id,
        hold_id=entry.hold_id,
        booking_id=entry.booking_id,
        epoch=entry.epoch,
        sold=entry.sold,
    )


def _totals_out(totals: model.CabinTotals) -> CabinTotals:
    return CabinTotals(
        cabin=totals.cabin,
        limit=totals.limit,
        free=totals.free,
        held=totals.held,
        sold=totals.sold,
        confirmed=totals.confirmed,
        cancelled=totals.cancelled,
        booking_classes=[
            ClassTotals(
                booking_class=one.booking_class, limit=one.limit, held=one.held, sold=one.sold
            )
            for one in totals.booking_classes
        ],
    )
