"""The ledger of a flight on the wire.

Ids of tenants, holds and bookings; no passenger, no contact, no record locator, no client's own text.
"""

from pydantic import Field

from app.inventory.model import CabinName
from app.ledger import model
from app.ledger.model import EntryKind
from app.transport.http.wire.schemas import Instant, Listing, Meta, Output


class LedgerEntry(Output):
    """One step of some seats, or another limit of a class."""

    at: Instant
    type: EntryKind
    cabin: CabinName
    booking_class: str = Field(examples=["Y"])
    seats: int | None = Field(ge=1, description="null where a limit was changed.")
    limit: int | None = Field(description="From now on; null where it is about seats.")
    tenant_id: str | None = Field(description="Whose hold it is; null where a limit was changed.")
    hold_id: str | None = Field(examples=["hold_5a47ufr7dwcpjtksgnmxthdpjm"])
    booking_id: str | None = Field(description="Of what was confirmed or cancelled.")
    epoch: int | None = Field(description="The life of the hold store's data that granted it.")
    sold: int = Field(description="Seats sold in the cabin, once this was done.")


class ClassTotals(Output):
    booking_class: str = Field(examples=["Y"])
    limit: int = Field(description="The most seats sold in this class and all below it.")
    held: int
    sold: int


class CabinTotals(Output):
    """`limit` = `free` + `held` + `sold`, and `sold` = `confirmed` - `cancelled`."""

    cabin: CabinName
    limit: int = Field(description="Of the highest class, and so of the cabin.")
    free: int = Field(description="Below 0 where the limit was lowered under what is taken.")
    held: int = Field(description="As the journal has it: at most a second behind an expiry.")
    sold: int = Field(description="As the inventory counts it.")
    confirmed: int = Field(description="Seats of all bookings ever made, counted one by one.")
    cancelled: int = Field(description="Of these, the seats that went back.")
    booking_classes: list[ClassTotals]


class Ledger(Listing[LedgerEntry]):
    """Entries and totals are of one moment."""

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
