"""Books, reads, finds and cancels. Owns the transactions; Redis follows after the commit."""

from app.booking import store
from app.booking.cancellation import Cancellation, no_such_booking
from app.booking.confirmation import Confirmation
from app.booking.lookup import lookup_in
from app.booking.model import Booking, BookingRequest, DrawLocator, draw_locator
from app.booking.sale import BATCH_MAX, Sales
from app.clock import Clock
from app.concurrency.background import Background
from app.hold.availability import LiveAvailability
from app.hold.pinning import Pins
from app.idempotency.model import Answered, IdempotencyKey
from app.ids import BookingId, TenantId
from app.storage.database import Database


class BookingService:
    def __init__(
        self,
        database: Database,
        pins: Pins,
        live: LiveAvailability,
        background: Background,
        clock: Clock,
        draw_locator: DrawLocator = draw_locator,
        *,
        batch_max: int = BATCH_MAX,
    ) -> None:
        self._database = database
        sales = Sales(database, pins, clock, draw_locator, batch_max=batch_max)
        self._cancellation = Cancellation(database, live, clock, batch_max=batch_max)
        lookup = lookup_in(database, batch_max=batch_max)
        self._confirmation = Confirmation(database, pins, background, clock, sales, lookup)

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
            raise no_such_booking()
        return booking

    async def find(self, tenant_id: TenantId, record_locator: str, family_name: str) -> Booking:
        """By both; NotFound says nothing of which of them was wrong."""
        async with self._database.reading() as session:
            booking = await store.find(session, tenant_id, record_locator, family_name)
        if booking is None:
            raise no_such_booking()
        return booking

    async def cancel(
        self, tenant_id: TenantId, booking_id: BookingId, key: IdempotencyKey | None
    ) -> Answered[Booking]:
        """The seats go back, once; a booking cancelled before is answered as it is."""
        return await self._cancellation.cancel(tenant_id, booking_id, key)
