"""Marks in each new epoch the keys of the last day, so that `sold_out` need not ask the journal.

A grant marks its key in its own script. What was granted before that, most of it in epochs that are
over, is marked here, once an epoch, from the journal; until it is done any key may have been granted a
hold, and the journal is asked.
"""

import asyncio
from datetime import UTC, datetime
from typing import Final

import structlog

from app.hold.epochs.current import CurrentEpoch
from app.hold.journal import scans
from app.hold.redis.life import Life
from app.storage.database import Database

_log = structlog.get_logger(__name__)

PAGE: Final = 2000  # rows of a statement, and marks of a script: a millisecond or two
PAUSE_SECONDS: Final = 0.02  # between them, so that requests come first
_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)


class IdempotencyKeyFilter:
    def __init__(self, database: Database, epochs: CurrentEpoch) -> None:
        self._database = database
        self._epochs = epochs
        self._done: int | None = None  # the epoch in which all is marked

    async def run_once(self) -> None:
        await self._epochs.run(self._mark)

    async def _mark(self, life: Life) -> None:
        if life.number == self._done:
            return
        if not await life.key_filter.is_complete():
            if not await life.key_filter.take_lease():
                return
            await self._mark_all(life)
        self._done = life.number

    async def _mark_all(self, life: Life) -> None:
        begin: datetime | None = _BEGINNING
        count, marked = PAGE, 0
        while begin is not None:
            async with self._database.reading() as session:
                firsts, last = await scans.granted_of_late(session, begin, count)
            for start in range(0, len(firsts), PAGE):
                await life.key_filter.add(firsts[start : start + PAGE])
                await asyncio.sleep(PAUSE_SECONDS)
            marked += len(firsts)
            # More than a page of one instant: the clock of Redis was put back, and stood still.
            count = 2 * count if last == begin else PAGE
            begin = last
        await life.key_filter.add((), completes=True)
        _log.info("keys_marked", epoch=life.number, count=marked)
