"""Loads an epoch of Redis from Postgres, in two readings.

`load` writes everything from one snapshot. `correct` reads a second snapshot, after bookings need a pin
again, and repairs the difference in both directions. There are very many rows and holds, so Postgres packs
them into text that is sent on unchanged, one page in each call; what holds add to flights is summed here
and written once for each flight. A few calls run concurrently, so that Redis writes while the next page
is read. Each call is idempotent, so one that a busy server answers too late is repeated: starting over
would cost more. Leases, modes and their order are the guardian's (guardian.py).
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from typing import Any, Final, TypeVar

from app.errors import HoldStoreUnavailable
from app.hold.epochs.load_batches import ExpiryBatches
from app.hold.journal import scans
from app.hold.journal import store as journal
from app.hold.model import JournalEntry, JournalState, LiveHold
from app.hold.redis.life import Life
from app.hold.redis.loading import HOLDS_MAX
from app.ids import HoldId
from app.inventory import pages
from app.inventory import store as inventory_store
from app.inventory.model import InventoryRow
from app.storage.database import Database, ReadSession

CALLS_MAX: Final = 4  # that run concurrently
ROWS_MAX: Final = 500  # rows, or memos, that one call writes: some milliseconds
ENDED_MAX: Final = 100  # holds that ended since the first reading, in one statement
ENDING_CALLS_MAX: Final = 32  # short calls, sent as one batch
IDS_MAX: Final = 5000  # holds that one statement of the second reading returns
SUMMED_MAX: Final = 200_000  # holds in memory at once, however many there are
RETRY_SECONDS: Final = 8.0  # while a busy server answers late; shorter than the lease
PAUSE_SECONDS: Final = 0.05

T = TypeVar("T")
Call = Callable[[], Awaitable[None]]


class Loader:
    """Loads one epoch. `keep_lease` is called often; it raises if the lease is lost."""

    def __init__(
        self,
        database: Database,
        life: Life,
        since: datetime,
        keep_lease: Call,
    ) -> None:
        self._database = database
        self._life = life
        self._since = since  # flights that departed earlier are not loaded
        self._keep_lease = keep_lease
        self._parts = itertools.count(1)
        self._written: set[bytes] = set()  # digests of pages of rows
        self._ends_of_pages: list[pages.Key] = []
        self.loaded: set[HoldId] = set()
        self.last_granted_at = datetime.min.replace(tzinfo=UTC)

    async def load(self) -> None:
        async with self._database.snapshot() as session:
            await _run_concurrently(self._inventory(session))
            await _run_concurrently(self._live_holds(session))

    async def correct(self) -> None:
        still_live: set[HoldId] = set()
        async with self._database.snapshot() as session:
            await _run_concurrently(self._inventory(session))
            after = ""
            while ids := await scans.live_ids(session, after, IDS_MAX):
                await self._keep_lease()
                still_live.update(ids)
                missing = [hold_id for hold_id in ids if hold_id not in self.loaded]
                for some in _in_parts(missing, HOLDS_MAX):
                    await self._add(await scans.live_among(session, some))
                after = ids[-1]
        gone = sorted(self.loaded - still_live)
        await _run_concurrently(self._ends(gone), limit=ENDING_CALLS_MAX)

    async def _inventory(self, session: ReadSession) -> AsyncIterator[Call]:
        """Yields a call for every page of rows; in the second reading only for pages that have changed."""
        after = pages.FIRST
        for until in [*self._ends_of_pages, pages.LAST]:
            while page := await pages.packed_rows(session, self._since, after, until, ROWS_MAX):
                await self._keep_lease()
                digest = sha256(page.text.encode()).digest()
                if digest not in self._written:
                    self._written.add(digest)
                    yield partial(self._life.loading.load_rows, page.text)
                after = page.last
                if until == pages.LAST:
                    self._ends_of_pages.append(after)
                if after == until:
                    break
            after = until

    async def _live_holds(self, session: ReadSession) -> AsyncIterator[Call]:
        batches = ExpiryBatches()
        after = ""
        while page := await scans.memo_page(session, after, ROWS_MAX):
            await self._keep_lease()
            memos = page.text.split("\n")
            yield self._part(memos=page.text)
            self.loaded.update(batches.add(memo) for memo in memos)
            self.last_granted_at = max(self.last_granted_at, page.last_granted_at)
            after = memos[-1].partition(" ")[0]
            if batches.count >= SUMMED_MAX:
                async for call in self._sums(batches):
                    yield call
                batches = ExpiryBatches()
        async for call in self._sums(batches):
            yield call

    async def _sums(self, batches: ExpiryBatches) -> AsyncIterator[Call]:
        for some in batches.parts():
            await self._keep_lease()
            yield self._part(sums=some)

    def _part(self, **what: Any) -> Call:
        return partial(self._life.loading.load_part, next(self._parts), **what)

    async def _add(self, holds: Sequence[LiveHold]) -> None:
        await _with_retry(partial(self._life.loading.load_holds, holds))
        self.loaded.update(hold.hold_id for hold in holds)
        granted = (hold.granted_at for hold in holds)
        self.last_granted_at = max(self.last_granted_at, *granted)

    async def _ends(self, hold_ids: Sequence[HoldId]) -> AsyncIterator[Call]:
        """Yields a call for each hold that has ended, in the state that its journal row has now."""
        for some in _in_parts(hold_ids, ENDED_MAX):
            await self._keep_lease()
            async with self._database.reading() as session:
                entries = await journal.read_all(session, some)
                flight_ids = {line.flight_id for one in entries.values() for line in one.lines}
                rows = await inventory_store.read_rows(session, flight_ids)
            for hold_id in some:
                yield partial(self._end, entries[hold_id], rows)

    async def _end(self, entry: JournalEntry, rows: Sequence[InventoryRow]) -> None:
        hold_id = entry.hold_id
        if entry.state is JournalState.CONFIRMED:
            flight_ids = {line.flight_id for line in entry.lines}
            own = [row for row in rows if row.flight_id in flight_ids]
            await self._life.holds.finish(hold_id, own, loading=True)
        else:
            await self._life.holds.end(hold_id, entry.state, loading=True)


def _in_parts(things: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    return (things[start : start + size] for start in range(0, len(things), size))


async def _run_concurrently(calls: AsyncIterator[Call], *, limit: int = CALLS_MAX) -> None:
    """Runs at most `limit` calls at a time. After the first failure no call begins and all are cancelled."""
    under_way: set[asyncio.Task[None]] = set()
    try:
        async for call in calls:
            under_way.add(asyncio.create_task(_with_retry(call)))
            if len(under_way) == limit:
                done, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        await asyncio.gather(*under_way)
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


async def _with_retry(call: Call) -> None:
    clock = asyncio.get_running_loop().time
    end = clock() + RETRY_SECONDS
    while True:
        try:
            return await call()
        except HoldStoreUnavailable:
            if clock() > end:
                raise
        await asyncio.sleep(PAUSE_SECONDS)
