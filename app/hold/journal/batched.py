"""The journal for concurrent requests: one statement serves many, and each row is decided by itself."""

import asyncio
from collections.abc import Sequence

from app.concurrency.coalescer import BATCH_MAX, Coalescer, batch_or_each
from app.hold.journal import store as journal
from app.hold.model import JournalEntry, JournalState
from app.ids import HoldId, TenantId
from app.storage.database import Database, WriteSession
from app.storage.transaction import CURED_BY_SPLITTING, SHORT_LOCK_TIMEOUT

_Asked = tuple[TenantId, HoldId]


class BatchedJournal:
    def __init__(self, database: Database, *, batch_max: int = BATCH_MAX) -> None:
        self._database = database
        self._appends: Coalescer[JournalEntry, bool] = Coalescer(
            self._append,
            key=lambda entry: entry.hold_id,
            splits=CURED_BY_SPLITTING,
            batch_max=batch_max,
        )
        self._reads: Coalescer[HoldId, JournalEntry | None] = Coalescer(
            self._read, key=lambda _: object(), batch_max=batch_max
        )
        self._releases: Coalescer[_Asked, JournalState | None] = Coalescer(
            self._release, key=lambda asked: asked[1], batch_max=batch_max
        )

    async def append(self, entry: JournalEntry) -> bool:
        """Whether the row was written: its epoch stands, and its id was new. Raises OutcomeUnknown."""
        return await self._appends.submit(entry)

    async def read(self, hold_id: HoldId) -> JournalEntry | None:
        """The entry of any tenant: for the protocol, never for an answer."""
        return await self._reads.submit(hold_id)

    async def read_own(self, tenant_id: TenantId, hold_id: HoldId) -> JournalEntry | None:
        """None also for one that was never promised."""
        entry = await self._reads.submit(hold_id)
        if entry is None or entry.tenant_id != tenant_id:
            return None
        return None if entry.state is JournalState.ABORTED else entry

    async def release(self, tenant_id: TenantId, hold_id: HoldId) -> JournalState | None:
        """HELD → RELEASED; where it stands then, or None where the tenant has no such row."""
        return await self._releases.submit((tenant_id, hold_id))

    async def _append(self, entries: Sequence[JournalEntry]) -> list[bool | Exception]:
        written = await self._database.run_statement(
            lambda session: journal.append(session, entries)
        )
        return [entry.hold_id in written for entry in entries]

    async def _read(self, hold_ids: Sequence[HoldId]) -> list[JournalEntry | Exception | None]:
        async with self._database.reading() as session:
            found = await journal.read_all(session, set(hold_ids))
        return [found.get(hold_id) for hold_id in hold_ids]

    async def _release(
        self, asked: Sequence[_Asked]
    ) -> "Sequence[JournalState | asyncio.Task[JournalState | None] | None]":
        return await batch_or_each(asked, self._release_batch, self._release_one)

    async def _release_batch(self, asked: Sequence[_Asked]) -> list[JournalState | None]:
        async def release(session: WriteSession) -> dict[HoldId, JournalState]:
            await session.execute(SHORT_LOCK_TIMEOUT)
            return await journal.release(session, asked)

        states = await self._database.run_in_transaction(release)
        return [states.get(hold_id) for _, hold_id in asked]

    async def _release_one(self, asked: _Asked) -> JournalState | None:
        states = await self._database.run_statement(
            lambda session: journal.release(session, [asked])
        )
        return states.get(asked[1])
