"""Marks in each new epoch the keys of the last day, so that `sold_out` need not ask the journal.

A grant marks its key in its own script. What was granted before that, most of it in epochs that are
over, is marked here, once an epoch, from the journal; until it is done any key may have been granted a
hold, and the journal is asked.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import structlog

from app.hold.epochs.current import CurrentEpoch
from app.hold.journal import scans
from app.hold.redis import keys
from app.hold.redis.keys import Keys, mark_of
from app.hold.redis.scripts import Scripts
from app.ids import HoldId
from app.storage.database import Database

_log = structlog.get_logger(__name__)

LEASE_MS: Final = 60_000  # from one page to the next; what two do at once does no harm
PAGE: Final = 2000  # rows of a statement, and marks of a script: a millisecond or two
PAUSE_SECONDS: Final = 0.02  # between them, so that requests come first
_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)


class IdempotencyKeyFilter:
    def __init__(self, database: Database, scripts: Scripts, epochs: CurrentEpoch) -> None:
        self._database = database
        self._scripts = scripts
        self._epochs = epochs
        self._done: int | None = None  # the epoch in which all is marked

    async def run_once(self) -> None:
        await self._epochs.run(self._mark)

    async def _mark(self, epoch: int) -> None:
        if epoch == self._done:
            return
        if not await self._is_done(epoch):
            if not await self._take_lease(epoch):
                return
            await self._mark_all(epoch)
        self._done = epoch

    async def _mark_all(self, epoch: int) -> None:
        begin: datetime | None = _BEGINNING
        count, marked = PAGE, 0
        while begin is not None:
            async with self._database.reading() as session:
                firsts, last = await scans.granted_of_late(session, begin, count)
            for start in range(0, len(firsts), PAGE):
                await self._send(epoch, firsts[start : start + PAGE])
                await asyncio.sleep(PAUSE_SECONDS)
            marked += len(firsts)
            # More than a page of one instant: the clock of Redis was put back, and stood still.
            count = 2 * count if last == begin else PAGE
            begin = last
        await self._send(epoch, (), is_last=True)
        _log.info("keys_marked", epoch=epoch, count=marked)

    async def _send(self, epoch: int, firsts: Sequence[HoldId], *, is_last: bool = False) -> None:
        names = Keys(epoch)
        marks = ",".join(map(str, map(mark_of, firsts)))
        await self._scripts.ask(
            "mark_granted",
            [keys.EPOCH, keys.CLOCK, names.marking, names.all_granted],
            [epoch, names.prefix, LEASE_MS, "ALL" if is_last else "MORE", marks],
            alone=True,
        )

    async def _is_done(self, epoch: int) -> bool:
        done = await self._scripts.send(self._scripts.client.get(Keys(epoch).all_granted))
        return done is not None

    async def _take_lease(self, epoch: int) -> bool:
        """One process at a time, and after one that failed nobody for as long."""
        asked = self._scripts.client.set(Keys(epoch).marking, 1, nx=True, px=LEASE_MS)
        return bool(await self._scripts.send(asked))
