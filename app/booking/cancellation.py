"""A booking is cancelled, once: its seats go back and the world is told, in one transaction.

Those of concurrent requests share one; where one cannot be served with the others, nothing is done and
fewer are tried together, down to each by itself. Redis hears of the rows afterwards, by version.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from app.booking import events, store
from app.booking.model import Booking
from app.clock import Clock
from app.concurrency.coalescer import Coalescer, SplitBatch, batch_or_each
from app.errors import IdempotencyKeyReused, NotFound
from app.hold.availability import LiveAvailability
from app.idempotency import store as idempotency
from app.idempotency.model import Answered, IdempotencyKey, NewRecord
from app.ids import BookingId, TenantId
from app.inventory import store as inventory_store
from app.inventory.model import InventoryRow, rows_of
from app.outbox import store as outbox
from app.storage.database import Database, WriteSession
from app.storage.transaction import SHORT_LOCK_TIMEOUT, OutcomeUnknown

ROUTE: Final = "bookings.cancel"
BATCH_MAX: Final = 32


@dataclass(frozen=True, slots=True, eq=False)
class _Wish:
    tenant_id: TenantId
    booking_id: BookingId
    key: IdempotencyKey | None


_Cancelled = tuple[Answered[Booking], list[InventoryRow]]


class Cancellation:
    def __init__(
        self,
        database: Database,
        live: LiveAvailability,
        clock: Clock,
        *,
        batch_max: int = BATCH_MAX,
    ) -> None:
        self._database = database
        self._live = live
        self._clock = clock
        self._wishes: Coalescer[_Wish, _Cancelled] = Coalescer(
            self._cancel,
            key=lambda wish: wish.booking_id,
            batch_max=min(batch_max, BATCH_MAX),
        )

    async def cancel(
        self, tenant_id: TenantId, booking_id: BookingId, key: IdempotencyKey | None
    ) -> Answered[Booking]:
        """One cancelled before is answered as it is. Raises NotFound, IdempotencyKeyReused."""
        answered, rows = await self._wishes.submit(_Wish(tenant_id, booking_id, key))
        await self._live.apply(rows)
        return answered

    async def _cancel(
        self, wishes: Sequence[_Wish]
    ) -> Sequence[_Cancelled | asyncio.Task[_Cancelled]]:
        return await batch_or_each(wishes, self._cancel_together, self._cancel_alone)

    async def _cancel_together(self, wishes: Sequence[_Wish]) -> list[_Cancelled]:
        try:
            return await self._database.run_in_transaction(
                lambda session: self._write_together(session, wishes)
            )
        except OutcomeUnknown:  # whichever it was, asking again leads to the same
            again = [await self._cancel_alone(wish) for wish in wishes]
            return [(replace(answered, replayed=False), rows) for answered, rows in again]

    async def _write_together(
        self, session: WriteSession, wishes: Sequence[_Wish]
    ) -> list[_Cancelled]:
        now = self._clock()
        claims = [
            NewRecord(w.tenant_id, w.key, w.booking_id, {}) for w in wishes if w.key is not None
        ]
        asked = [(wish.tenant_id, wish.booking_id) for wish in wishes]
        await session.execute(SHORT_LOCK_TIMEOUT)
        if claims and not await idempotency.insert_all(session, ROUTE, claims, now):
            raise SplitBatch
        if len(await store.cancel(session, asked, now)) < len(wishes):
            raise SplitBatch
        found = await store.read_all(session, asked)
        cancelled = [found[wish.booking_id] for wish in wishes]
        rows = await inventory_store.subtract_sold(
            session, [line for _, lines in cancelled for line in lines]
        )
        facts = (
            events.cancelled(wish.tenant_id, booking)
            for wish, (booking, _) in zip(wishes, cancelled, strict=True)
        )
        await outbox.append(session, *facts)
        return [(Answered(booking), rows_of(lines, rows)) for booking, lines in cancelled]

    async def _cancel_alone(self, wish: _Wish) -> _Cancelled:
        was_replayed = False

        async def write(session: WriteSession) -> _Cancelled:
            nonlocal was_replayed
            done = await self._write_alone(session, wish)
            was_replayed = done[0].replayed
            return done

        try:
            return await self._database.run_in_transaction(write)
        except OutcomeUnknown:
            first_was_replayed = was_replayed
            answered, rows = await self._database.run_in_transaction(write)
            return replace(answered, replayed=first_was_replayed), rows

    async def _write_alone(self, session: WriteSession, wish: _Wish) -> _Cancelled:
        now = self._clock()
        record = None
        if wish.key is not None:
            record = await idempotency.insert_or_find(
                session, wish.tenant_id, ROUTE, wish.key, wish.booking_id, {}, now
            )
            if record is not None and record.subject_id != wish.booking_id:
                raise IdempotencyKeyReused
        asked = (wish.tenant_id, wish.booking_id)
        is_ours = bool(await store.cancel(session, [asked], now))
        found = (await store.read_all(session, [asked])).get(wish.booking_id)
        if found is None:
            raise no_such_booking()
        booking, lines = found
        if is_ours:
            rows = await inventory_store.subtract_sold(session, lines)
            await outbox.append(session, events.cancelled(wish.tenant_id, booking))
        else:  # nothing changes, but whoever did it may have ended before Redis heard of it
            rows = await inventory_store.read_rows(session, {line.flight_id for line in lines})
        return Answered(booking, replayed=record is not None), rows


def no_such_booking() -> NotFound:
    return NotFound("There is no such booking.")
