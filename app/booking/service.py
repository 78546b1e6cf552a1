"""Book, read, find and cancel: what clients ask. Owns the transactions; tells Redis after the commit."""

from dataclasses import replace
from typing import Final

from app.background import Background
from app.booking import events, store
from app.booking.confirmation import Confirmation
from app.booking.lookup import Lookup
from app.booking.model import Booking, BookingRequest, DrawLocator, draw_locator
from app.booking.sale import BATCH_MAX, Sales
from app.clock import Clock
from app.errors import IdempotencyKeyReused, NotFound
from app.hold.claim import Claims
from app.hold.live import LiveInventory
from app.idempotency import store as idempotency
from app.idempotency.model import Answered, IdempotencyKey
from app.ids import BookingId, TenantId
from app.inventory import store as inventory_store
from app.inventory.model import InventoryRow
from app.outbox import store as outbox
from app.storage.database import Database, WriteSession
from app.storage.transaction import OutcomeUnknown

CANCEL_ROUTE: Final = "bookings.cancel"


class BookingService:
    def __init__(
        self,
        database: Database,
        claims: Claims,
        live: LiveInventory,
        background: Background,
        clock: Clock,
        draw_locator: DrawLocator = draw_locator,
        *,
        batch_max: int = BATCH_MAX,
    ) -> None:
        self._database = database
        self._live = live
        self._clock = clock
        sales = Sales(database, claims, clock, draw_locator, batch_max=batch_max)
        lookup = Lookup(database, batch_max=batch_max)
        self._confirmation = Confirmation(database, claims, background, clock, sales, lookup)

    async def confirm(
        self, tenant_id: TenantId, request: BookingRequest, key: IdempotencyKey
    ) -> Answered[Booking]:
        """Every segment of the hold sold, or nothing; the same answer however often it is asked.

        Raises NotFound, ValidationFailed, HoldExpired, HoldNotActive, NotForSale, DuplicateBooking,
        IdempotencyKeyReused, IdempotencyInFlight, HoldStoreUnavailable, DatabaseUnavailable.
        """
        return await self._confirmation.confirm(tenant_id, request, key)

    async def get(self, tenant_id: TenantId, booking_id: BookingId) -> Booking:
        async with self._database.reading() as session:
            booking = await store.read_own(session, tenant_id, booking_id)
        if booking is None:
            raise _no_such_booking()
        return booking

    async def find(self, tenant_id: TenantId, record_locator: str, family_name: str) -> Booking:
        """By both; NotFound says nothing of which of them was wrong."""
        async with self._database.reading() as session:
            booking = await store.find(session, tenant_id, record_locator, family_name)
        if booking is None:
            raise _no_such_booking()
        return booking

    async def cancel(
        self, tenant_id: TenantId, booking_id: BookingId, key: IdempotencyKey | None
    ) -> Answered[Booking]:
        """The seats go back, once; a booking cancelled before is answered as it is."""

        was_replayed = False

        async def cancel(session: WriteSession) -> tuple[Answered[Booking], list[InventoryRow]]:
            nonlocal was_replayed
            done = await self._cancel(session, tenant_id, booking_id, key)
            was_replayed = done[0].replayed
            return done

        try:
            answered, rows = await self._database.run_in_transaction(cancel)
        except OutcomeUnknown:  # whichever it was, asking again leads to the same
            first_was_replayed = was_replayed
            answered, rows = await self._database.run_in_transaction(cancel)
            answered = replace(answered, replayed=first_was_replayed)
        await self._live.apply(rows)
        return answered

    async def _cancel(
        self,
        session: WriteSession,
        tenant_id: TenantId,
        booking_id: BookingId,
        key: IdempotencyKey | None,
    ) -> tuple[Answered[Booking], list[InventoryRow]]:
        now = self._clock()
        record = None
        if key is not None:
            record = await idempotency.claim(
                session, tenant_id, CANCEL_ROUTE, key, booking_id, {}, now
            )
            if record is not None and record.subject_id != booking_id:
                raise IdempotencyKeyReused
        is_ours = await store.cancel(session, tenant_id, booking_id, now)
        booking = await store.read_own(session, tenant_id, booking_id)
        if booking is None:
            raise _no_such_booking()
        lines = await store.lines_of(session, tenant_id, booking_id)
        if is_ours:
            rows = await inventory_store.give_back(session, lines)
            await outbox.append(session, events.cancelled(tenant_id, booking))
        else:  # nothing changes, but whoever did it may have ended before Redis heard of it
            rows = await inventory_store.read_rows(session, {line.flight_id for line in lines})
        return Answered(booking, replayed=record is not None), rows


def _no_such_booking() -> NotFound:
    return NotFound("There is no such booking.")
