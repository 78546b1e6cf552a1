"""The transaction that sells a whole hold or nothing; concurrent requests share it.

A shared transaction either serves all its requests or is rolled back; then smaller groups are tried, down
to single requests, so that no request is refused for the fault of another. The transaction touches
nothing but its session, so that it may run again.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import structlog
from prometheus_client import Counter

from app.booking import events, store
from app.booking.errors import DuplicateBooking, seats_gone
from app.booking.model import Booking, BookingRequest, BookingStatus, DrawLocator
from app.booking.store import NewBooking
from app.clock import Clock
from app.concurrency.coalescer import Coalescer, SplitBatch, batch_or_each
from app.hold.errors import SoldOut, refusal_of
from app.hold.model import JournalEntry, JournalState
from app.hold.pinning import PinProof, Pins, read_entries
from app.idempotency import store as idempotency
from app.idempotency.model import IdempotencyKey, NewRecord
from app.ids import BookingId, TenantId, booking_id
from app.inventory import store as inventory_store
from app.inventory.model import InventoryRow, SeatLine, rows_of
from app.outbox import store as outbox
from app.storage.database import Database, WriteSession
from app.storage.transaction import SHORT_LOCK_TIMEOUT

_log = structlog.get_logger(__name__)

ROUTE: Final = "bookings.confirm"
BATCH_MAX: Final = 32  # one transaction's bookings
LOCATOR_DRAWS_MAX: Final = 64

OVERSELLS_STOPPED = Counter(
    "holdfast_oversells_stopped",
    "Bookings of a live hold that found its seats sold: a fault in the protocol, never a client's.",
)


class BookedByAnother(Exception):
    """Another request got the hold while this one was on its way; nothing was done."""


class FencingTokenMoved(Exception):
    """The hold was settled since it was pinned; nothing was done."""


class PinOfEarlierEpoch(Exception):
    """The pin was made in a life of the Redis data that is over; nothing was done."""


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """One request with what it is judged by."""

    tenant_id: TenantId
    request: BookingRequest
    key: IdempotencyKey
    entry: JournalEntry
    duplicate_of: BookingId | None  # a booking with the request's client_reference


@dataclass(frozen=True, slots=True, eq=False)
class Sale:
    """An order, and the proof that its hold is pinned."""

    order: Order
    proof: PinProof


Sold = tuple[Booking, list[InventoryRow]]
"""What was sold, and the rows of its flights as the sale left them."""


class Sales:
    def __init__(
        self,
        database: Database,
        pins: Pins,
        clock: Clock,
        draw_locator: DrawLocator,
        *,
        batch_max: int = BATCH_MAX,
    ) -> None:
        self._database = database
        self._pins = pins
        self._clock = clock
        self._draw_locator = draw_locator
        self._sales: Coalescer[Sale, Sold | None] = Coalescer(
            self._sell,
            key=lambda sale: sale.proof.hold_id,
            batch_max=min(batch_max, BATCH_MAX),
        )

    async def sell(self, order: Order, proof: PinProof) -> Sold | None:
        """None: the key has its answer.

        Raises BookedByAnother, FencingTokenMoved, PinOfEarlierEpoch, OutcomeUnknown, and what a booking is
        refused for.
        """
        return await self._sales.submit(Sale(order, proof))

    async def _sell(
        self, sales: Sequence[Sale]
    ) -> "Sequence[Sold | asyncio.Task[Sold | None] | None]":
        return await batch_or_each(sales, self._sell_batch, self._sell_one)

    async def _sell_batch(self, sales: Sequence[Sale]) -> list[Sold | None]:
        return [
            *await self._database.run_in_transaction(
                lambda session: self._write_batch(session, sales)
            )
        ]

    async def _sell_one(self, sale: Sale) -> Sold | None:
        return await self._database.run_in_transaction(
            lambda session: self._write_one(session, sale)
        )

    async def _write_batch(self, session: WriteSession, sales: Sequence[Sale]) -> list[Sold]:
        if len({sale.proof.epoch for sale in sales}) > 1:
            raise SplitBatch
        await session.execute(SHORT_LOCK_TIMEOUT)
        records = [
            NewRecord(sale.order.tenant_id, sale.order.key, booking_id(sale.proof.hold_id), {})
            for sale in sales
        ]
        if not await idempotency.insert_all(session, ROUTE, records, self._clock()):
            raise SplitBatch
        return await self._write_sales(session, sales)

    async def _write_one(self, session: WriteSession, sale: Sale) -> Sold | None:
        order, subject = sale.order, booking_id(sale.proof.hold_id)
        record = await idempotency.insert_or_find(
            session, order.tenant_id, ROUTE, order.key, subject, {}, self._clock()
        )
        if record is not None:
            return None
        (sold,) = await self._write_sales(session, [sale])
        return sold

    async def _write_sales(self, session: WriteSession, sales: Sequence[Sale]) -> list[Sold]:
        """All of one epoch. Locks in the one order: epoch, journal, booking, inventory."""
        if not await self._pins.prove(session, sales[0].proof):
            raise PinOfEarlierEpoch
        won = await self._pins.confirm(session, [sale.proof for sale in sales])
        for sale in sales:
            if sale.proof.hold_id not in won:
                raise await _why_not(session, sale.proof)
        bookings = await self._add_bookings(session, sales)
        lines = [line for sale in sales for line in sale.order.entry.lines]
        rows = await inventory_store.add_sold(session, lines)
        if isinstance(rows, SeatLine):
            raise _oversell_stopped(sales, rows)
        facts = (
            events.confirmed(sale.order.tenant_id, booking)
            for sale, booking in zip(sales, bookings, strict=True)
        )
        await outbox.append(session, *facts)
        return [
            (booking, rows_of(sale.order.entry.lines, rows))
            for sale, booking in zip(sales, bookings, strict=True)
        ]

    async def _add_bookings(self, session: WriteSession, sales: Sequence[Sale]) -> list[Booking]:
        bookings = [self._booking(sale.order) for sale in sales]
        for _ in range(LOCATOR_DRAWS_MAX):
            new = [
                NewBooking(sale.order.tenant_id, booking, sale.order.entry.lines)
                for sale, booking in zip(sales, bookings, strict=True)
            ]
            if len(await store.add(session, new)) == len(sales):
                return bookings
            if len(sales) > 1:
                raise SplitBatch
            await _refuse_duplicate(session, sales[0].order)
            bookings = [replace(bookings[0], record_locator=self._draw_locator())]
        raise AssertionError("no free record locator in so many draws")

    def _booking(self, order: Order) -> Booking:
        entry, request = order.entry, order.request
        return Booking(
            booking_id=booking_id(entry.hold_id),
            record_locator=self._draw_locator(),
            status=BookingStatus.CONFIRMED,
            hold_id=entry.hold_id,
            segments=entry.segments,
            passengers=request.passengers,
            contact=request.contact,
            payment=request.payment,
            price=entry.price,
            client_reference=request.client_reference,
            created_at=self._clock(),
        )


async def _why_not(session: WriteSession, proof: PinProof) -> Exception:
    """Why the entry was not HELD with our fencing token; read after any other holder of its lock has ended."""
    entry = (await read_entries(session, [proof.hold_id])).get(proof.hold_id)
    state = None if entry is None else entry.state
    if state is JournalState.CONFIRMED:
        return BookedByAnother()
    return refusal_of(state) or FencingTokenMoved()


async def _refuse_duplicate(session: WriteSession, order: Order) -> None:
    reference = order.request.client_reference
    if reference is not None:
        asked = (order.tenant_id, reference)
        taken_by = (await store.with_client_references(session, [asked])).get(asked)
        if taken_by is not None:
            raise DuplicateBooking(taken_by)


def _oversell_stopped(sales: Sequence[Sale], line: SeatLine) -> Exception:
    """The error of an oversale; in a batch, smaller ones find out which sale it is."""
    if len(sales) > 1:
        return SplitBatch()
    entry = sales[0].order.entry
    OVERSELLS_STOPPED.inc()
    _log.error(
        "oversell_stopped",
        hold_id=entry.hold_id,
        flight_id=line.flight_id,
        position=line.position,
        count=line.seats,
    )
    return _seats_gone(entry, line)


def _seats_gone(entry: JournalEntry, line: SeatLine) -> SoldOut:
    booking_class = entry.segments[entry.lines.index(line)].booking_class
    return seats_gone(line, booking_class)
