"""Carries what Postgres knows into an epoch of Redis that is being loaded, twice over.

`load` writes everything as of one moment; `correct` reads again, once nothing is booked without a pin
any more, and mends the difference both ways. There are very many rows and holds, so Postgres packs
them into text that is sent on as it is, a page a call; what holds add to flights is summed here and
written once a flight. A few calls are under way at a time, so that Redis writes while the next page is
read. Each call may be made twice, so one that a busy server answers too late is made again: starting
over would cost more. Leases, modes and their order are rebuild.py's.
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

CALLS_MAX: Final = 4  # under way at once
ROWS_AT_ONCE: Final = 500  # rows, and memos, that one call writes: some milliseconds
ENDS_AT_ONCE: Final = 100  # holds that ended meanwhile, in one statement
ENDS_UNDER_WAY_MAX: Final = 32  # they travel together
IDS_AT_ONCE: Final = 5000  # holds that one statement of the second reading names
SUMMED_TOGETHER: Final = 200_000  # holds that are kept here at once, however many there are
PATIENCE_SECONDS: Final = 8.0  # with a server that answers late; within a lease
PAUSE_SECONDS: Final = 0.05

T = TypeVar("T")
Call = Callable[[], Awaitable[None]]


class Loader:
    """Of one epoch. `keep_lease` is called again and again, and raises where the lease is lost."""

    def __init__(
        self,
        database: Database,
        life: Life,
        since: datetime,
        keep_lease: Call,
    ) -> None:
        self._database = database
        self._life = life
        self._since = since  # of flights that left before nothing is loaded
        self._keep_lease = keep_lease
        self._parts = itertools.count(1)
        self._written: set[bytes] = set()  # digests of pages of rows
        self._ends_of_pages: list[pages.Key] = []
        self.loaded: set[HoldId] = set()
        self.last_granted_at = datetime.min.replace(tzinfo=UTC)

    async def load(self) -> None:
        async with self._database.snapshot() as session:
            await _a_few_at_once(self._inventory(session))
            await _a_few_at_once(self._live_holds(session))

    async def correct(self) -> None:
        still_live: set[HoldId] = set()
        async with self._database.snapshot() as session:
            await _a_few_at_once(self._inventory(session))
            after = ""
            while ids := await scans.live_ids(session, after, IDS_AT_ONCE):
                await self._keep_lease()
                still_live.update(ids)
                missing = [hold_id for hold_id in ids if hold_id not in self.loaded]
                for some in _in_parts(missing, HOLDS_MAX):
                    await self._add(await scans.live_among(session, some))
                after = ids[-1]
        gone = sorted(self.loaded - still_live)
        await _a_few_at_once(self._ends(gone), most=ENDS_UNDER_WAY_MAX)

    async def _inventory(self, session: ReadSession) -> AsyncIterator[Call]:
        """Every page at first; then, page by page as before, those that read otherwise."""
        after = pages.FIRST
        for until in [*self._ends_of_pages, pages.LAST]:
            while page := await pages.packed_rows(session, self._since, after, until, ROWS_AT_ONCE):
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
        waits = ExpiryBatches()
        after = ""
        while page := await scans.memo_page(session, after, ROWS_AT_ONCE):
            await self._keep_lease()
            memos = page.text.split("\n")
            yield self._part(memos=page.text)
            self.loaded.update(waits.add(memo) for memo in memos)
            self.last_granted_at = max(self.last_granted_at, page.last_granted_at)
            after = memos[-1].partition(" ")[0]
            if waits.count >= SUMMED_TOGETHER:
                async for call in self._sums(waits):
                    yield call
                waits = ExpiryBatches()
        async for call in self._sums(waits):
            yield call

    async def _sums(self, waits: ExpiryBatches) -> AsyncIterator[Call]:
        for some in waits.parts():
            await self._keep_lease()
            yield self._part(sums=some)

    def _part(self, **what: Any) -> Call:
        return partial(self._life.loading.load_part, next(self._parts), **what)

    async def _add(self, holds: Sequence[LiveHold]) -> None:
        await _patiently(partial(self._life.loading.load_holds, holds))
        self.loaded.update(hold.hold_id for hold in holds)
        granted = (hold.granted_at for hold in holds)
        self.last_granted_at = max(self.last_granted_at, *granted)

    async def _ends(self, hold_ids: Sequence[HoldId]) -> AsyncIterator[Call]:
        """Each as its row says now, which may be later than the reading that missed it."""
        for some in _in_parts(hold_ids, ENDS_AT_ONCE):
            await self._keep_lease()
            async with self._database.reading() as session:
                promises = await journal.read_all(session, some)
                flight_ids = {line.flight_id for one in promises.values() for line in one.lines}
                rows = await inventory_store.read_rows(session, flight_ids)
            for hold_id in some:
                yield partial(self._end, promises[hold_id], rows)

    async def _end(self, promise: JournalEntry, rows: Sequence[InventoryRow]) -> None:
        hold_id = promise.hold_id
        if promise.state is JournalState.CONFIRMED:
            flight_ids = {line.flight_id for line in promise.lines}
            own = [row for row in rows if row.flight_id in flight_ids]
            await self._life.holds.finish(hold_id, own, loading=True)
        else:
            await self._life.holds.end(hold_id, promise.state, loading=True)


def _in_parts(things: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    return (things[start : start + size] for start in range(0, len(things), size))


async def _a_few_at_once(calls: AsyncIterator[Call], *, most: int = CALLS_MAX) -> None:
    """Returns when all are done; after the first that fails none is begun, and none is left behind."""
    under_way: set[asyncio.Task[None]] = set()
    try:
        async for call in calls:
            under_way.add(asyncio.create_task(_patiently(call)))
            if len(under_way) == most:
                done, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        await asyncio.gather(*under_way)
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


async def _patiently(call: Call) -> None:
    clock = asyncio.get_running_loop().time
    end = clock() + PATIENCE_SECONDS
    while True:
        try:
            return await call()
        except HoldStoreUnavailable:
            if clock() > end:
                raise
        await asyncio.sleep(PAUSE_SECONDS)
