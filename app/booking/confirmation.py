"""A hold becomes a booking: pin, then one transaction that sells everything or nothing, then finish.

The journal entry alone decides which request gets the hold; Redis only keeps the hold from expiring
meanwhile. The transaction touches nothing but its session, so that it may run again. A pin whose
transaction did not commit is settled: the hold is live again until its own end.
"""

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import Final

from app.booking import rules, store
from app.booking.errors import DuplicateBooking
from app.booking.lookup import Lookup, Question
from app.booking.model import Booking, BookingRequest, BookingStatus
from app.booking.sale import (
    ROUTE,
    BookedByAnother,
    FencingTokenMoved,
    Order,
    PinOfEarlierEpoch,
    Sales,
)
from app.clock import Clock
from app.concurrency.background import Background
from app.errors import (
    DatabaseUnavailable,
    DomainError,
    HoldStoreUnavailable,
    IdempotencyInFlight,
    IdempotencyKeyReused,
    ValidationFailed,
)
from app.hold.errors import BOOKED, HoldNotActive, NotForSale, no_such_hold, refusal_of
from app.hold.pinning import PinProof, Pins
from app.idempotency import store as idempotency
from app.idempotency.model import Answered, IdempotencyKey, IdempotencyRecord
from app.ids import BookingId, HoldId, TenantId
from app.storage.database import Database
from app.storage.transaction import OutcomeUnknown

TRIES_MAX: Final = (
    3  # of pin and transaction, where the fencing token or the epoch moved in between
)
EPOCH_PAUSE_SECONDS: Final = 0.1
WAITS_MAX: Final = 2  # for the first request with the same key, one lock timeout (2 s) each


class Confirmation:
    def __init__(
        self,
        database: Database,
        pins: Pins,
        background: Background,
        clock: Clock,
        sales: Sales,
        lookup: Lookup,
    ) -> None:
        self._database = database
        self._pins = pins
        self._background = background
        self._clock = clock
        self._sales = sales
        self._lookup = lookup

    async def confirm(
        self, tenant_id: TenantId, request: BookingRequest, key: IdempotencyKey
    ) -> Answered[Booking]:
        order = await self._look_up(tenant_id, request, key)
        if isinstance(order, Booking):
            return Answered(order, replayed=True)
        try:
            self._judge(order)
            return await self._pin_and_book(order)
        except (DatabaseUnavailable, ValidationFailed):
            raise
        except DomainError:
            first = await self._first_answer(
                order
            )  # another request with the key may have succeeded meanwhile
            if first is None:
                raise
            return Answered(first, replayed=True)

    async def _look_up(
        self, tenant_id: TenantId, request: BookingRequest, key: IdempotencyKey
    ) -> Booking | Order:
        """What was answered to this key before, or else what the request is judged by."""
        known = await self._lookup.submit(
            Question(tenant_id, key, request.hold_id, request.client_reference)
        )
        if known.record is not None:
            return await self.replay(tenant_id, key, known.record)
        entry = known.entry
        if entry is None or entry.tenant_id != tenant_id:
            raise no_such_hold()
        return Order(tenant_id, request, key, entry, known.duplicate_of)

    def _judge(self, order: Order) -> None:
        """What can be said without asking Redis: the content first, then the state."""
        entry, now = order.entry, self._clock()
        rules.check(order.request, entry.passengers, entry.price, entry.segments, now)
        if order.duplicate_of is not None:
            raise DuplicateBooking(order.duplicate_of)
        refusal = refusal_of(entry.state)
        if refusal is not None:
            raise refusal
        for segment in entry.segments:
            if segment.departing_at.utc <= now:
                raise NotForSale(f"Flight {segment.carrier}{segment.flight_number} has departed.")

    async def _pin_and_book(self, order: Order) -> Answered[Booking]:
        hold_id = order.entry.hold_id
        waits = 0
        for attempt in range(1, TRIES_MAX + 1):
            proof = await self._pin(hold_id)
            try:
                return await self._book(order, proof)
            except BookedByAnother:  # which also finishes the hold
                raise HoldNotActive(BOOKED) from None
            except FencingTokenMoved:
                await self._pins.settle(hold_id)
            except PinOfEarlierEpoch:
                await asyncio.sleep(EPOCH_PAUSE_SECONDS * attempt)
            except OutcomeUnknown:
                return await self._find_out(order)
            except IdempotencyInFlight:
                waits += 1
                if waits == WAITS_MAX:
                    raise
            except Exception:
                await self._settle_later(hold_id)
                raise
        await self._settle_later(hold_id)
        raise HoldStoreUnavailable

    async def _pin(self, hold_id: HoldId) -> PinProof:
        try:
            return await self._pins.pin(hold_id)
        except HoldStoreUnavailable:  # an answer that was lost may have been a pin
            await self._settle_later(hold_id)
            raise

    async def _book(self, order: Order, proof: PinProof) -> Answered[Booking]:
        sold = await self._sales.sell(order, proof)
        if sold is None:
            first = await self._first_answer(order)
            assert first is not None, "its record was there"
            return Answered(first, replayed=True)
        booking, rows = sold
        await self._background.start("finish_hold", self._pins.finish(booking.hold_id, rows))
        return Answered(booking)

    async def _find_out(self, order: Order) -> Answered[Booking]:
        """COMMIT was not answered: settling waits for it, and then the record shows what happened."""
        with suppress(DomainError):
            await self._pins.settle(order.entry.hold_id)
        booking = await self._first_answer(order)
        if booking is None:
            await self._settle_later(order.entry.hold_id)
            raise DatabaseUnavailable
        return Answered(booking)

    async def _first_answer(self, order: Order) -> Booking | None:
        async with self._database.reading() as session:
            record = await idempotency.find(session, order.tenant_id, ROUTE, order.key)
        if record is None:
            return None
        return await self.replay(order.tenant_id, order.key, record)

    async def replay(
        self, tenant_id: TenantId, key: IdempotencyKey, record: IdempotencyRecord
    ) -> Booking:
        """The first answer to this key; raises IdempotencyKeyReused where it was for another request."""
        if record.request_hash != key.request_hash:
            raise IdempotencyKeyReused
        async with self._database.reading() as session:
            booking = await store.read_own(session, tenant_id, BookingId(record.subject_id))
        assert booking is not None, "a record commits with its booking"
        return _as_first_answered(booking)

    async def _settle_later(self, hold_id: HoldId) -> None:
        await self._background.start("settle_hold", self._pins.settle(hold_id))


def _as_first_answered(booking: Booking) -> Booking:
    """The booking as it was when it was made."""
    return replace(booking, status=BookingStatus.CONFIRMED, cancelled_at=None, version=1)
