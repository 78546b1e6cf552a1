"""The oracle's holds: placed, read, extended and released under row locks."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from app.clock import Clock
from app.errors import DomainError, IdempotencyKeyReused, NotFound, Overloaded
from app.hold import extension
from app.hold.errors import (
    ExtensionLimitReached,
    HoldExpired,
    HoldNotActive,
    OfferExpired,
    SoldOut,
)
from app.hold.journal import store as journal
from app.hold.model import (
    EXTENSIONS_MAX,
    Full,
    Hold,
    HoldRequest,
    HoldStatus,
    JournalEntry,
    JournalState,
)
from app.hold.placement import OpenOffer
from app.hold.pricing import Itinerary, itinerary
from app.hold.service import HoldService
from app.hold.views import STATES_OF, extended_answer, original_answer
from app.idempotency import store as idempotency
from app.idempotency.model import Answered, IdempotencyKey
from app.ids import HoldId, TenantId, booking_id, hold_id
from app.inventory.store import read_flights
from app.storage.database import Database, WriteSession
from tests.faults.oracle import rows

EPOCH = 1
TRIES_MAX = 50

_STATUS = {
    JournalState.HELD: HoldStatus.ACTIVE,
    JournalState.CONFIRMED: HoldStatus.BOOKED,
    JournalState.RELEASED: HoldStatus.RELEASED,
    JournalState.EXPIRED: HoldStatus.EXPIRED,
}


class _Again(Exception):
    """A hold expired while seats were counted; nothing was changed."""


class PostgresHolds(HoldService):
    """The interface of HoldService, with an implementation of its own."""

    def __init__(
        self, database: Database, open_offer: OpenOffer, ttl: timedelta, clock: Clock
    ) -> None:
        self._database = database
        self._open_offer = open_offer
        self._ttl = ttl
        self._clock = clock

    async def try_place(
        self, tenant_id: TenantId, request: HoldRequest, key: IdempotencyKey
    ) -> Answered[Hold]:
        for _ in range(TRIES_MAX):
            try:
                return await self._database.run_in_transaction(
                    lambda session: self._place(session, tenant_id, request, key)
                )
            except _Again:
                continue
            except DomainError:
                first = await self._first_answer(tenant_id, key)
                if first is None:
                    raise
                return first
        raise Overloaded("Too many holds are running out at once; retry shortly.")

    async def _place(
        self,
        session: WriteSession,
        tenant_id: TenantId,
        request: HoldRequest,
        key: IdempotencyKey,
    ) -> Answered[Hold]:
        name = hold_id(tenant_id, key.key, 1)
        row = await journal.read(session, name)
        if row is not None:
            return _replayed(row, key)
        plan = await self._plan(session, tenant_id, request)
        flights = {line.flight_id for line in plan.lines}
        await rows.end_due(session, flights=flights)
        seats = await rows.lock_seats(session, flights)
        now = await rows.now(session)
        self._refuse_full(plan, seats, now, by_offer=request.offer_id is not None)
        entry = JournalEntry(
            hold_id=name,
            tenant_id=tenant_id,
            idempotency_key=key.key,
            attempt=1,
            request_hash=key.request_hash,
            client_reference=request.client_reference,
            lines=plan.lines,
            segments=plan.segments,
            passengers=plan.passengers,
            price=plan.price,
            epoch=EPOCH,
            granted_at=now,
            expires_at=now + self._ttl,
            first_expires_at=now + self._ttl,
        )
        if name not in await journal.append(session, [entry]):
            raise _Again  # another delivery of the same request was first
        return Answered(original_answer(entry))

    async def _plan(
        self, session: WriteSession, tenant_id: TenantId, request: HoldRequest
    ) -> Itinerary:
        offer = None
        if request.offer_id is not None:
            offer = self._open_offer(tenant_id, request.offer_id)
            if offer.expires_at <= self._clock():
                raise OfferExpired
        choices = request.segments if offer is None else offer.segments
        passengers = request.passengers if offer is None else offer.passengers
        assert passengers is not None, "the rim asks for passengers beside segments"
        flights = await read_flights(session, {choice.flight_id for choice in choices})
        return itinerary(choices, passengers, flights, self._clock(), offer)

    def _refuse_full(
        self,
        plan: Itinerary,
        seats: Mapping[rows.Cabin, rows.Seats],
        now: datetime,
        *,
        by_offer: bool,
    ) -> None:
        cabins = [seats[line.flight_id, line.cabin] for line in plan.lines]
        open_seats = tuple(
            cabin.open(line.position) for cabin, line in zip(cabins, plan.lines, strict=True)
        )
        wanted = plan.passengers.seats
        short = [
            (cabin, line)
            for cabin, line in zip(cabins, plan.lines, strict=True)
            if cabin.open(line.position) < wanted
        ]
        if not short:
            return
        ends = [cabin.first_end for cabin, _ in short]
        if any(end is not None and end <= now for end in ends):
            raise _Again
        known = [end for end in ends if end is not None]
        can_come_free = len(known) == len(short) and all(
            cabin.open_without_holds(line.position) >= wanted for cabin, line in short
        )
        full = Full(open_seats, max(known) if can_come_free else None)
        raise SoldOut.of(plan.choices, wanted, full, by_offer=by_offer)

    async def _first_answer(
        self, tenant_id: TenantId, key: IdempotencyKey
    ) -> Answered[Hold] | None:
        async with self._database.reading() as session:
            row = await journal.read(session, hold_id(tenant_id, key.key, 1))
        return None if row is None else _replayed(row, key)

    async def get(self, tenant_id: TenantId, hold_id: HoldId) -> Hold:
        async def read(session: WriteSession) -> tuple[JournalEntry | None, datetime]:
            await rows.end_due(session, hold_ids=[hold_id])
            now = await rows.now(session)
            return await journal.read_own(session, tenant_id, hold_id), now

        entry, now = await self._database.run_in_transaction(read)
        if entry is None:
            raise _no_such_hold()
        return _view(entry, now)

    async def list(
        self,
        tenant_id: TenantId,
        *,
        status: HoldStatus | None,
        client_reference: str | None,
        after: tuple[datetime, HoldId] | None,
        limit: int,
    ) -> tuple[list[Hold], tuple[datetime, HoldId] | None]:
        async def read(session: WriteSession) -> tuple[list[JournalEntry], datetime]:
            async def page() -> list[JournalEntry]:
                return await journal.page(
                    session,
                    tenant_id,
                    states=STATES_OF[status],
                    client_reference=client_reference,
                    after=after,
                    count=limit + 1,
                )

            await rows.end_due(session, hold_ids=[entry.hold_id for entry in await page()])
            return await page(), await rows.now(session)

        found, now = await self._database.run_in_transaction(read)
        holds = [_view(entry, now) for entry in found[:limit]]
        kept = [hold for hold in holds if status is None or hold.status is status]
        last = found[limit - 1] if len(found) > limit else None
        return kept, None if last is None else (last.granted_at, last.hold_id)

    async def extend(
        self, tenant_id: TenantId, hold_id: HoldId, key: IdempotencyKey | None
    ) -> Answered[Hold]:
        async def extend(session: WriteSession) -> Answered[Hold]:
            return await self._extend(session, tenant_id, hold_id, key)

        await self._end_due(hold_id)
        return await self._database.run_in_transaction(extend)

    async def _extend(
        self,
        session: WriteSession,
        tenant_id: TenantId,
        hold_id: HoldId,
        key: IdempotencyKey | None,
    ) -> Answered[Hold]:
        entry = await journal.read_own(session, tenant_id, hold_id)
        if entry is None:
            raise _no_such_hold()
        now = await rows.now(session)
        expires_at = entry.first_expires_at + self._ttl
        seconds = int((expires_at - now).total_seconds())
        if key is not None:
            facts: dict[str, Any] = {"expires_at": expires_at.isoformat(), "seconds": seconds}
            record = await idempotency.insert_or_find(
                session, tenant_id, extension.ROUTE, key, hold_id, facts, self._clock()
            )
            if record is not None:
                return extension.replayed_extension(entry, record)
        locked = await rows.lock_hold(session, hold_id)
        assert locked is not None, "it was there a moment ago"
        match JournalState(locked.state):
            case JournalState.EXPIRED:
                raise HoldExpired
            case JournalState.HELD if locked.is_due:
                raise HoldExpired
            case JournalState.HELD:
                pass
            case _:
                raise HoldNotActive("The hold is booked or released.")
        if not await rows.extend(session, hold_id, expires_at):
            raise ExtensionLimitReached
        return Answered(extended_answer(entry, expires_at, seconds))

    async def release(self, tenant_id: TenantId, hold_id: HoldId) -> None:
        async def release(session: WriteSession) -> JournalEntry | None:
            await rows.release(session, tenant_id, hold_id)
            return await journal.read_own(session, tenant_id, hold_id)

        entry = await self._database.run_in_transaction(release)
        if entry is None:
            raise _no_such_hold()
        if entry.state is JournalState.CONFIRMED:
            raise HoldNotActive("The hold has become a booking; cancel that instead.")

    async def _end_due(self, hold_id: HoldId) -> None:
        await self._database.run_in_transaction(
            lambda session: rows.end_due(session, hold_ids=[hold_id])
        )


def _view(entry: JournalEntry, now: datetime) -> Hold:
    is_live = entry.state is JournalState.HELD
    left = int((entry.expires_at - now).total_seconds()) if is_live else 0
    return replace(
        original_answer(entry),
        status=_STATUS[entry.state],
        expires_at=entry.expires_at,
        price_guaranteed_until=entry.expires_at,
        expires_in_seconds=max(0, left),
        extensions_remaining=EXTENSIONS_MAX - entry.extensions_used,
        booking_id=booking_id(entry.hold_id) if entry.state is JournalState.CONFIRMED else None,
    )


def _replayed(row: JournalEntry, key: IdempotencyKey) -> Answered[Hold]:
    if row.request_hash != key.request_hash:
        raise IdempotencyKeyReused
    return Answered(original_answer(row), replayed=True)


def _no_such_hold() -> NotFound:
    return NotFound("There is no such hold.")
