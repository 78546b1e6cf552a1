"""Promises of concurrent requests, written in one statement and one commit; decided row by row."""

from collections.abc import Sequence
from typing import Final

from app.hold import journal
from app.hold.model import Promise
from app.storage.coalesce import BATCH_MAX, Coalescer
from app.storage.database import Database
from app.storage.transaction import CURED_BY_SPLITTING

BATCHES_MAX: Final = 2  # at once: one is written to disk while the other is put together


class Appender:
    def __init__(self, database: Database, *, batch_max: int = BATCH_MAX) -> None:
        self._database = database
        self._promises: Coalescer[Promise, bool] = Coalescer(
            self._append,
            key=lambda promise: promise.hold_id,
            splits=CURED_BY_SPLITTING,
            batch_max=batch_max,
            batches_max=BATCHES_MAX,
        )

    async def append(self, promise: Promise) -> bool:
        """Whether the row was written: its epoch stands, and its id was new. Raises OutcomeUnknown."""
        return await self._promises.do(promise)

    async def _append(self, promises: Sequence[Promise]) -> list[bool | Exception]:
        written = await self._database.run_statement(
            lambda session: journal.append(session, promises)
        )
        return [promise.hold_id in written for promise in promises]
