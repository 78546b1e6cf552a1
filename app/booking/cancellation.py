"""Cancels a booking, once: its seats are given back and the event is written, in one transaction.

Concurrent requests share a transaction. Where one of them cannot be served with the others, nothing is
done, and smaller groups are tried, down to single requests. Redis takes over the rows afterwards, by version.
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
class _Request:
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
        self._requests: Coalescer[_Request, _Cancelled] = Coalescer(
            self._cancel,
            key=lambda request: request.booking_id,
            batch_max=min(batch_max, BATCH_MAX),
        )

    async def cancel(
        self, tenant_id: TenantId, booking_id: BookingId, key: IdempotencyKey | None
    ) -> Answered[Booking]:
        """One cancelled before is answered as it is. Raises NotFound, IdempotencyKeyReused."""
        answered, rows = await self._requests.submit(_Request(tenant_id, booking_id, key))
        await self._live.apply(rows)
        return answered

    async def _cancel(
        self, requests: Sequence[_Request]
    ) -> Sequence[_Cancelled | asyncio.Task[_Cancelled]]:
        return await batch_or_each(requests, self._cancel_batch, self._cancel_one)

    async def _cancel_batch(self, requests: Sequence[_Request]) -> list[_Cancelled]:
        try:
            return await self._database.run_in_transaction(
                lambda session: self._write_batch(session, requests)
            )
        except OutcomeUnknown:  # whether it committed or not, a second try has the same result
            again = [await self._cancel_one(request) for request in requests]
            return [(replace(answered, replayed=False), rows) for answered, rows in again]

    async def _write_batch(
        self, session: WriteSession, requests: Sequence[_Request]
    ) -> list[_Cancelled]:
        now = self._clock()
        records = [
            NewRecord(w.tenant_id, w.key, w.booking_id, {}) for w in requests if w.key is not None
        ]
        asked = [(request.tenant_id, request.booking_id) for request in requests]
        await session.execute(SHORT_LOCK_TIMEOUT)
        if records and not await idempotency.insert_all(session, ROUTE, records, now):
            raise SplitBatch
        if len(await store.cancel(session, asked, now)) < len(requests):
            raise SplitBatch
        found = await store.read_all(session, asked)
        cancelled = [found[request.booking_id] for request in requests]
        rows = await inventory_store.subtract_sold(
            session, [line for _, lines in cancelled for line in lines]
        )
        facts = (
            events.cancelled(request.tenant_id, booking)
            for request, (booking, _) in zip(requests, cancelled, strict=True)
        )
        await outbox.append(session, *facts)
        return [(Answered(booking), rows_of(lines, rows)) for booking, lines in cancelled]

    async def _cancel_one(self, request: _Request) -> _Cancelled:
        was_replayed = False

        async def write(session: WriteSession) -> _Cancelled:
            nonlocal was_replayed
            done = await self._write_one(session, request)
            was_replayed = done[0].replayed
            return done

        try:
            return await self._database.run_in_transaction(write)
        except OutcomeUnknown:
            first_was_replayed = was_replayed
            answered, rows = await self._database.run_in_transaction(write)
            return replace(answered, replayed=first_was_replayed), rows

    async def _write_one(self, session: WriteSession, request: _Request) -> _Cancelled:
        now = self._clock()
        record = None
        if request.key is not None:
            record = await idempotency.insert_or_find(
                session, request.tenant_id, ROUTE, request.key, request.booking_id, {}, now
            )
            if record is not None and record.subject_id != request.booking_id:
                raise IdempotencyKeyReused
        asked = (request.tenant_id, request.booking_id)
        is_ours = bool(await store.cancel(session, [asked], now))
        found = (await store.read_all(session, [asked])).get(request.booking_id)
        if found is None:
            raise no_such_booking()
        booking, lines = found
        if is_ours:
            rows = await inventory_store.subtract_sold(session, lines)
            await outbox.append(session, events.cancelled(request.tenant_id, booking))
        else:  # the process that did it may have ended before Redis took the rows over
            rows = await inventory_store.read_rows(session, {line.flight_id for line in lines})
        return Answered(booking, replayed=record is not None), rows


def no_such_booking() -> NotFound:
    return NotFound("There is no such booking.")
