"""A hold becomes a booking: pin, then one transaction that sells everything or nothing, then finish.

The journal row is the single judge of who gets the hold; Redis only keeps the hold out of expiry's
reach meanwhile. Nothing in the transaction touches anything but its session, so that it may run
again. A pin whose transaction did not commit is settled: the hold is live again, on its own time.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

import structlog
from prometheus_client import Counter

from app.background import Background
from app.booking import events, rules, store
from app.booking.errors import DuplicateBooking, seats_gone
from app.booking.model import Booking, BookingRequest, BookingStatus, DrawLocator
from app.clock import Clock
from app.errors import (
    DatabaseUnavailable,
    DomainError,
    HoldStoreUnavailable,
    IdempotencyInFlight,
    NotFound,
    ValidationFailed,
)
from app.hold import journal
from app.hold.claim import Claim, Claims
from app.hold.errors import HoldExpired, HoldNotActive, NotForSale, SoldOut
from app.hold.model import JournalState, Promise
from app.idempotency import store as idempotency
from app.idempotency.model import Answered, IdempotencyKey
from app.ids import BookingId, HoldId, TenantId, booking_id, is_hold_id
from app.inventory import store as inventory_store
from app.inventory.model import InventoryRow, SeatLine
from app.outbox import store as outbox
from app.storage.database import Database, ReadSession, WriteSession
from app.storage.transaction import OutcomeUnknown

_log = structlog.get_logger(__name__)

ROUTE: Final = "bookings.confirm"
TRIES_MAX: Final = 3  # of pin and transaction, where the fence or the epoch had moved in between
EPOCH_PAUSE_SECONDS: Final = 0.1
WAITS_MAX: Final = 2  # for the first request with the same key, one lock timeout (2 s) each
LOCATOR_DRAWS_MAX: Final = 64
_BOOKED: Final = "The hold has become a booking."

OVERSELLS_STOPPED = Counter(
    "holdfast_oversells_stopped",
    "Bookings of a live hold that found its seats sold: a fault in the protocol, never a client's.",
)


class _BookedByAnother(Exception):
    """Another request got the hold while this one was on its way; nothing was done."""


class _FenceMoved(Exception):
    """The hold was settled since it was pinned; nothing was done."""


class _EpochMoved(Exception):
    """The pin was made in a life of the Redis data that is over; nothing was done."""


@dataclass(frozen=True, slots=True)
class _Order:
    """One request with what it is judged by."""

    tenant_id: TenantId
    request: BookingRequest
    key: IdempotencyKey
    promise: Promise
    duplicate_of: BookingId | None  # a booking with the request's client_reference


class Confirmation:
    def __init__(
        self,
        database: Database,
        claims: Claims,
        background: Background,
        clock: Clock,
        draw_locator: DrawLocator,
    ) -> None:
        self._database = database
        self._claims = claims
        self._background = background
        self._clock = clock
        self._draw_locator = draw_locator

    async def confirm(
        self, tenant_id: TenantId, request: BookingRequest, key: IdempotencyKey
    ) -> Answered[Booking]:
        order = await self._look(tenant_id, request, key)
        if isinstance(order, Booking):
            return Answered(order, replayed=True)
        try:
            self._judge(order)
            return await self._claim_and_book(order)
        except (DatabaseUnavailable, ValidationFailed):
            raise
        except DomainError:
            first = await self._first_answer(order)  # may have come true meanwhile
            if first is None:
                raise
            return Answered(first, replayed=True)

    async def _look(
        self, tenant_id: TenantId, request: BookingRequest, key: IdempotencyKey
    ) -> Booking | _Order:
        """What was answered to this key before, or else what the request is judged by."""
        duplicate_of = None
        async with self._database.reading() as session:
            first = await _told_before(session, tenant_id, key)
            if first is not None:
                return first
            promise = None
            if is_hold_id(request.hold_id):
                promise = await journal.read_own(session, tenant_id, request.hold_id)
            if promise is None:
                raise _no_such_hold()
            if request.client_reference is not None:
                duplicate_of = await store.with_client_reference(
                    session, tenant_id, request.client_reference
                )
        return _Order(tenant_id, request, key, promise, duplicate_of)

    def _judge(self, order: _Order) -> None:
        """What can be said without asking Redis: the content first, then the state."""
        promise, now = order.promise, self._clock()
        rules.check(order.request, promise.passengers, promise.price, promise.segments, now)
        if order.duplicate_of is not None:
            raise DuplicateBooking(order.duplicate_of)
        refusal = _refusal_of(promise.state)
        if refusal is not None:
            raise refusal
        for segment in promise.segments:
            if segment.departing_at.utc <= now:
                raise NotForSale(f"Flight {segment.carrier}{segment.flight_number} has departed.")

    async def _claim_and_book(self, order: _Order) -> Answered[Booking]:
        hold_id = order.promise.hold_id
        waits = 0
        for attempt in range(1, TRIES_MAX + 1):
            claim = await self._pin(hold_id)
            try:
                return await self._book(order, claim)
            except _BookedByAnother:  # who finishes the hold
                raise HoldNotActive(_BOOKED) from None
            except _FenceMoved:
                await self._claims.settle(hold_id)
            except _EpochMoved:
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

    async def _pin(self, hold_id: HoldId) -> Claim:
        try:
            return await self._claims.pin(hold_id)
        except HoldStoreUnavailable:  # an answer that was lost may have been a pin
            await self._settle_later(hold_id)
            raise

    async def _book(self, order: _Order, claim: Claim) -> Answered[Booking]:
        sale = await self._database.run_in_transaction(
            lambda session: self._sell(session, order, claim)
        )
        if sale is None:
            first = await self._first_answer(order)
            assert first is not None, "its record was there a moment ago"
            return Answered(first, replayed=True)
        booking, rows = sale
        await self._background.start("finish_hold", self._claims.finish(booking.hold_id, rows))
        return Answered(booking)

    async def _sell(
        self, session: WriteSession, order: _Order, claim: Claim
    ) -> tuple[Booking, list[InventoryRow]] | None:
        """None: the key has its answer. Locks in the one order: epoch, journal, booking, inventory."""
        subject = booking_id(order.promise.hold_id)
        record = await idempotency.claim(
            session, order.tenant_id, ROUTE, order.key, subject, {}, self._clock()
        )
        if record is not None:
            return None
        if not await self._claims.prove(session, claim):
            raise _EpochMoved
        if not await journal.confirm(session, claim.hold_id, claim.fence):
            raise await _why_not(session, claim.hold_id)
        lines = order.promise.lines
        booking = await self._add_booking(session, order, lines)
        rows = await inventory_store.sell(session, lines)
        if isinstance(rows, SeatLine):
            raise _oversell_stopped(booking, lines, rows)
        await outbox.append(session, events.confirmed(order.tenant_id, booking))
        return booking, rows

    async def _add_booking(
        self, session: WriteSession, order: _Order, lines: tuple[SeatLine, ...]
    ) -> Booking:
        promise, request = order.promise, order.request
        booking = Booking(
            booking_id=booking_id(promise.hold_id),
            record_locator=self._draw_locator(),
            status=BookingStatus.CONFIRMED,
            hold_id=promise.hold_id,
            segments=promise.segments,
            passengers=request.passengers,
            contact=request.contact,
            payment=request.payment,
            price=promise.price,
            client_reference=request.client_reference,
            created_at=self._clock(),
        )
        for _ in range(LOCATOR_DRAWS_MAX):
            if await store.add(session, order.tenant_id, booking, lines):
                return booking
            if request.client_reference is not None:
                taken_by = await store.with_client_reference(
                    session, order.tenant_id, request.client_reference
                )
                if taken_by is not None:
                    raise DuplicateBooking(taken_by)
            booking = replace(booking, record_locator=self._draw_locator())
        raise AssertionError("no free record locator in so many draws")

    async def _find_out(self, order: _Order) -> Answered[Booking]:
        """COMMIT got no answer: settling waits for it, and then the journal and the record say."""
        with suppress(DomainError):
            await self._claims.settle(order.promise.hold_id)
        booking = await self._first_answer(order)
        if booking is None:
            await self._settle_later(order.promise.hold_id)
            raise DatabaseUnavailable
        return Answered(booking)

    async def _first_answer(self, order: _Order) -> Booking | None:
        async with self._database.reading() as session:
            return await _told_before(session, order.tenant_id, order.key)

    async def _settle_later(self, hold_id: HoldId) -> None:
        await self._background.start("settle_hold", self._claims.settle(hold_id))


async def _told_before(
    session: ReadSession, tenant_id: TenantId, key: IdempotencyKey
) -> Booking | None:
    """The first answer to this key; raises IdempotencyKeyReused where it was for another request."""
    record = await idempotency.find(session, tenant_id, ROUTE, key)
    if record is None:
        return None
    booking = await store.read_own(session, tenant_id, BookingId(record.subject_id))
    assert booking is not None, "a record commits with its booking"
    return _first_told(booking)


def _first_told(booking: Booking) -> Booking:
    """As it was first answered, whatever became of it."""
    return replace(booking, status=BookingStatus.CONFIRMED, cancelled_at=None, version=1)


async def _why_not(session: WriteSession, hold_id: HoldId) -> Exception:
    """Why the journal row was not HELD with our fence: read after whoever held it has ended."""
    promise = await journal.read(session, hold_id)
    if promise is None:
        return _no_such_hold()
    if promise.state is JournalState.CONFIRMED:
        return _BookedByAnother()
    return _refusal_of(promise.state) or _FenceMoved()


def _refusal_of(state: JournalState) -> DomainError | None:
    match state:
        case JournalState.HELD:
            return None
        case JournalState.CONFIRMED:
            return HoldNotActive(_BOOKED)
        case JournalState.RELEASED:
            return HoldNotActive("The hold was released.")
        case JournalState.EXPIRED:
            return HoldExpired()
        case JournalState.ABORTED:
            return _no_such_hold()


def _oversell_stopped(booking: Booking, lines: tuple[SeatLine, ...], line: SeatLine) -> SoldOut:
    OVERSELLS_STOPPED.inc()
    _log.error(
        "oversell_stopped",
        hold_id=booking.hold_id,
        flight_id=line.flight_id,
        position=line.position,
        count=line.seats,
    )
    booking_class = booking.segments[lines.index(line)].booking_class
    return seats_gone(line, booking_class)


def _no_such_hold() -> NotFound:
    return NotFound("There is no such hold.")
