"""Place, read, list, extend and release holds: what clients ask, in the order the protocol asks for."""

import asyncio
from contextlib import suppress
from datetime import datetime
from typing import Final

from app.concurrency.background import Background
from app.errors import HoldStoreUnavailable, IdempotencyKeyReused
from app.hold import extension
from app.hold.epochs.current import CurrentEpoch
from app.hold.errors import (
    ExtensionLimitReached,
    HoldExpired,
    HoldNotActive,
    SoldOut,
    no_such_hold,
)
from app.hold.extension import Extension, Extensions, replayed_extension
from app.hold.journal import store as journal
from app.hold.journal.batched import BatchedJournal
from app.hold.model import (
    EXTENSIONS_MAX,
    Extended,
    Hold,
    HoldRequest,
    HoldStatus,
    JournalEntry,
    JournalState,
    MemoState,
)
from app.hold.pinning import Pins
from app.hold.placement import Placement
from app.hold.redis.life import Life
from app.hold.views import STATES_OF, HoldViews
from app.idempotency import store as idempotency
from app.idempotency.model import Answered, IdempotencyKey, IdempotencyRecord
from app.ids import HoldId, TenantId
from app.storage.database import Database

ENDINGS_MAX: Final = 8  # tries to free released seats while the hold store is unreachable


class HoldService:
    def __init__(
        self,
        database: Database,
        batched_journal: BatchedJournal,
        extensions: Extensions,
        epochs: CurrentEpoch,
        pins: Pins,
        placement: Placement,
        background: Background,
    ) -> None:
        self._database = database
        self._journal = batched_journal
        self._extensions = extensions
        self._epochs = epochs
        self._pins = pins
        self._placement = placement
        self._background = background
        self._views = HoldViews(database, epochs)

    async def place(
        self, tenant_id: TenantId, request: HoldRequest, key: IdempotencyKey
    ) -> Answered[Hold]:
        """All segments held and promised, or a refusal; the same answer however often it is asked.

        Raises ValidationFailed, NotForSale, OfferExpired, PriceChanged, SoldOut, IdempotencyKeyReused,
        HoldStoreUnavailable, DatabaseUnavailable.
        """
        answer = await self.try_place(tenant_id, request, key)
        if isinstance(answer, SoldOut):
            raise answer
        return answer

    async def try_place(
        self, tenant_id: TenantId, request: HoldRequest, key: IdempotencyKey
    ) -> Answered[Hold] | SoldOut:
        """As `place`, but for the refusal that comes by the thousand. Raised, it would cost a third of the
        request, and leave all of it to the collector: what was raised knows the frames that know it.
        """
        return await self._placement.place(tenant_id, request, key)

    async def get(self, tenant_id: TenantId, hold_id: HoldId) -> Hold:
        entry = await self._journal.read_own(tenant_id, hold_id)
        if entry is None:
            raise no_such_hold()
        (hold,) = await self._views.current([entry])
        return hold

    async def list(
        self,
        tenant_id: TenantId,
        *,
        status: HoldStatus | None,
        client_reference: str | None,
        after: tuple[datetime, HoldId] | None,
        limit: int,
    ) -> tuple[list[Hold], tuple[datetime, HoldId] | None]:
        """Newest first, and where to go on if there are more.

        A page may be short by those whose status is about to be written down.
        """
        async with self._database.reading() as session:
            found = await journal.page(
                session,
                tenant_id,
                states=STATES_OF[status],
                client_reference=client_reference,
                after=after,
                count=limit + 1,
            )
        page = found[:limit]
        holds = await self._views.current(page)
        kept = [hold for hold in holds if status is None or hold.status is status]
        has_more = len(found) > limit
        return kept, (page[-1].granted_at, page[-1].hold_id) if has_more else None

    async def extend(
        self, tenant_id: TenantId, hold_id: HoldId, key: IdempotencyKey | None
    ) -> Answered[Hold]:
        """One more TTL, once, while live: first in Redis, then promised in the journal."""
        entry, record = await self._entry_and_record(tenant_id, hold_id, key)
        if record is not None:
            return replayed_extension(entry, record)
        if entry.state is JournalState.HELD and entry.extensions_used >= EXTENSIONS_MAX:
            (now,) = await self._views.current([entry])
            raise HoldExpired if now.status is HoldStatus.EXPIRED else ExtensionLimitReached

        async def extend(life: Life) -> tuple[int, Extended | MemoState]:
            return life.number, await life.holds.extend(hold_id)

        epoch, outcome = await self._epochs.run(extend)
        if isinstance(outcome, MemoState):
            if outcome is MemoState.PINNED:
                raise HoldNotActive("The hold is being booked at this moment.")
            raise await self._pins.refusal(epoch, hold_id, outcome)
        return await self._extensions.record(Extension(entry, epoch, outcome, key))

    async def release(self, tenant_id: TenantId, hold_id: HoldId) -> None:
        """The seats are free now. Repeatable, also when it has run out; HoldNotActive once booked."""

        state = await self._journal.release(tenant_id, hold_id)
        if state is None or state is JournalState.ABORTED:
            raise no_such_hold()
        if state is JournalState.CONFIRMED:
            raise HoldNotActive("The hold has become a booking; cancel that instead.")
        try:
            await self._end(hold_id, state)
        except HoldStoreUnavailable:  # the seats cannot be sold now; they are freed once it is back
            await self._background.start("end_hold", self._end_later(hold_id, state))

    async def _end(self, hold_id: HoldId, state: JournalState) -> None:
        await self._epochs.run(lambda life: life.holds.end(hold_id, state))

    async def _end_later(self, hold_id: HoldId, state: JournalState) -> None:
        for attempt in range(1, ENDINGS_MAX + 1):
            await asyncio.sleep(attempt)
            with suppress(HoldStoreUnavailable):
                return await self._end(hold_id, state)
        raise HoldStoreUnavailable

    async def _entry_and_record(
        self, tenant_id: TenantId, hold_id: HoldId, key: IdempotencyKey | None
    ) -> tuple[JournalEntry, IdempotencyRecord | None]:
        record = None
        async with self._database.reading() as session:
            entry = await journal.read_own(session, tenant_id, hold_id)
            if key is not None:
                record = await idempotency.find(session, tenant_id, extension.ROUTE, key)
        if record is not None and record.subject_id != hold_id:
            raise IdempotencyKeyReused
        if entry is None:
            raise no_such_hold()
        return entry, record
