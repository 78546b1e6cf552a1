"""Carries what Postgres knows into an epoch of Redis that is being loaded, twice over.

`load` writes everything as of one moment; `correct` reads again, once nothing is booked without a pin
any more, and mends the difference both ways. A few calls are under way at a time, so that Redis writes
while the next rows are read, and holds go there flight by flight, which saves Redis half of its work.
Each call may be made twice, so one that a busy server answers too late is made again: starting over
would cost more. Leases, modes and their order are rebuild.py's.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Final, TypeVar

from app.errors import HoldStoreUnavailable
from app.hold import journal, survey
from app.hold.epoch_store import HOLDS_AT_ONCE, EpochStore
from app.hold.model import JournalState
from app.hold.seats import SeatStore
from app.hold.store import HoldStore
from app.hold.survey import LiveHold
from app.ids import HoldId
from app.inventory import store as inventory_store
from app.storage.database import Database, ReadSession

CALLS_MAX: Final = 4  # under way at once
ROWS_AT_ONCE: Final = 500
PAGE: Final = 5000  # holds that one statement reads
SORTED_TOGETHER: Final = 200_000  # holds that are kept here at once, however many there are
PATIENCE_SECONDS: Final = 8.0  # with a server that answers late; within a lease
PAUSE_SECONDS: Final = 0.05

T = TypeVar("T")
Call = Callable[[], Awaitable[None]]


class Loading:
    """Of one epoch. `keep_lease` is called again and again, and raises where the lease is lost."""

    def __init__(
        self,
        database: Database,
        stores: tuple[EpochStore, SeatStore, HoldStore],
        epoch: int,
        since: datetime,
        keep_lease: Call,
    ) -> None:
        self._database = database
        self._epoch_store, self._seats, self._store = stores
        self._epoch = epoch
        self._since = since  # of flights that left before nothing is loaded
        self._keep_lease = keep_lease
        self.loaded: set[HoldId] = set()
        self.last_granted_at = datetime.min.replace(tzinfo=UTC)

    async def load(self) -> None:
        async with self._database.snapshot() as session:
            await _a_few_at_once(self._inventory(session))
            async for holds in self._live_holds(session):
                await self._write(holds)

    async def correct(self) -> None:
        still_live: set[HoldId] = set()
        async with self._database.snapshot() as session:
            await _a_few_at_once(self._inventory(session))
            after = ""
            while ids := await survey.live_ids(session, after, PAGE):
                await self._keep_lease()
                still_live.update(ids)
                missing = [hold_id for hold_id in ids if hold_id not in self.loaded]
                if missing:
                    await self._write(await survey.live_among(session, missing))
                after = ids[-1]
        await _a_few_at_once(self._ends(sorted(self.loaded - still_live)))

    async def _inventory(self, session: ReadSession) -> AsyncIterator[Call]:
        async for page in inventory_store.all_rows(session, self._since):
            await self._keep_lease()
            for rows in _in_parts(page, ROWS_AT_ONCE):
                yield partial(self._seats.apply, self._epoch, rows, loading=True)

    async def _live_holds(self, session: ReadSession) -> AsyncIterator[list[LiveHold]]:
        holds: list[LiveHold] = []
        after = ""
        while page := await survey.live_page(session, after, PAGE):
            await self._keep_lease()
            holds += page
            if len(holds) >= SORTED_TOGETHER:
                yield holds
                holds = []
            after = page[-1].hold_id
        yield holds

    async def _write(self, holds: list[LiveHold]) -> None:
        holds.sort(key=_first_flight)

        async def calls() -> AsyncIterator[Call]:
            for part in _in_parts(holds, HOLDS_AT_ONCE):
                await self._keep_lease()
                yield partial(self._epoch_store.load_holds, self._epoch, part)

        await _a_few_at_once(calls())
        self.loaded.update(hold.hold_id for hold in holds)
        granted = (hold.granted_at for hold in holds)
        self.last_granted_at = max(self.last_granted_at, max(granted, default=self.last_granted_at))

    async def _ends(self, hold_ids: Iterable[HoldId]) -> AsyncIterator[Call]:
        for hold_id in hold_ids:
            await self._keep_lease()
            yield partial(self._end, hold_id)

    async def _end(self, hold_id: HoldId) -> None:
        async with self._database.reading() as session:
            promise = await journal.read(session, hold_id)
            assert promise is not None, "a journal row leaves long after its hold"
            rows = await inventory_store.read_rows(session, {ln.flight_id for ln in promise.lines})
        if promise.state is JournalState.CONFIRMED:
            await self._store.finish(self._epoch, hold_id, rows, loading=True)
        else:
            await self._store.end(self._epoch, hold_id, promise.state, loading=True)


def _first_flight(hold: LiveHold) -> str:
    return str(hold.lines[0][0])


def _in_parts(things: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    return (things[start : start + size] for start in range(0, len(things), size))


async def _a_few_at_once(calls: AsyncIterator[Call]) -> None:
    """Returns when all are done; after the first that fails none is begun, and none is left behind."""
    under_way: set[asyncio.Task[None]] = set()
    try:
        async for call in calls:
            under_way.add(asyncio.create_task(_patiently(call)))
            if len(under_way) == CALLS_MAX:
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
