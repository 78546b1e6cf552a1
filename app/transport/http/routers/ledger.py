"""`GET /v1/flights/{id}/ledger`: every seat's way on one flight, for whoever answers for it.

Ids of tenants, holds and bookings; no passenger, no contact, no record locator, no client's own text.
"""

from pydantic import Field

from app.errors import NotFound
from app.identity.principal import Scope
from app.ids import FlightId, is_flight_id
from app.inventory.model import CabinName
from app.ledger import model
from app.ledger.model import EntryKind
from app.ledger.service import LedgerService
from app.transport.http.pipeline.dependencies import CurrentPrincipal, Paging
from app.transport.http.pipeline.guarded_route import ScopedRouter
from app.transport.http.problems.responses import documented
from app.transport.http.wire.cursors import Cursors
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


def ledger_router(ledger: LedgerService, cursors: Cursors) -> ScopedRouter:
    router = ScopedRouter(scope=Scope.INVENTORY_ADMIN, prefix="/v1/flights", tags=["flights"])

    @router.get(
        "/{flight_id}/ledger",
        summary="Follow every seat of a flight",
        response_description="One page of entries, and what all of them come to.",
        responses=documented("not_found"),
    )
    async def read_ledger(caller: CurrentPrincipal, paging: Paging, flight_id: str) -> Ledger:
        """What became of each seat, oldest first: holds of all tenants, bookings, cancellations and
        changed limits. A hold that ended without a booking is forgotten 30 days later.
        """
        if not is_flight_id(flight_id):
            raise NotFound("No flight has this id.")
        asked = ["ledger", caller.tenant_id, flight_id]
        after = None if paging.after is None else _position(cursors.open(asked, paging.after))
        page = await ledger.page(FlightId(flight_id), after, paging.limit)
        more = None if page.after is None else cursors.seal(asked, page.after)
        return ledger_out(page, more)

    return router


def _position(sealed: list[str | int]) -> model.Position:
    at_us, about, step, place = sealed
    return int(at_us), str(about), int(step), int(place)


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
