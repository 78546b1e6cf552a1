"""Fills the key filter of each new epoch, so that `sold_out` needs no query of the journal.

The script that grants a hold adds its idempotency key. Keys granted in earlier epochs are added here from
the journal, once in each epoch. Until the filter is complete any key may have been granted a hold, so
that every refusal queries the journal.
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

PAGE: Final = 2000  # rows of one statement and keys of one script call: 1 to 2 ms
PAUSE_SECONDS: Final = 0.02  # between pages, so that requests are not delayed
_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)


class IdempotencyKeyFilter:
    def __init__(self, database: Database, epochs: CurrentEpoch) -> None:
        self._database = database
        self._epochs = epochs
        self._complete_in: int | None = None  # the epoch whose filter is complete

    async def run_once(self) -> None:
        await self._epochs.run(self._fill)

    async def _fill(self, life: Life) -> None:
        if life.number == self._complete_in:
            return
        if not await life.key_filter.is_complete():
            if not await life.key_filter.take_lease():
                return
            await self._add_all(life)
        self._complete_in = life.number

    async def _add_all(self, life: Life) -> None:
        begin: datetime | None = _BEGINNING
        count, added = PAGE, 0
        while begin is not None:
            async with self._database.reading() as session:
                hold_ids, last = await scans.granted_recently(session, begin, count)
            for start in range(0, len(hold_ids), PAGE):
                await life.key_filter.add(hold_ids[start : start + PAGE])
                await asyncio.sleep(PAUSE_SECONDS)
            added += len(hold_ids)
            # All rows of the page have one instant, as after the clock of Redis was set back.
            count = 2 * count if last == begin else PAGE
            begin = last
        await life.key_filter.add((), completes=True)
        _log.info("keys_marked", epoch=life.number, count=added)
