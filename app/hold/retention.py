"""Lets go of what ended long ago, in small batches, so that tables do not grow for ever.

A promise that is HELD never leaves by age: only its own end starts the clock.
"""

import asyncio
from contextlib import suppress
from typing import Final

import structlog

from app.clock import Clock
from app.errors import DomainError
from app.hold import journal
from app.idempotency import store as idempotency
from app.storage.database import Database

_log = structlog.get_logger(__name__)

EVERY_SECONDS: Final = 600.0
BATCH: Final = 500
ROUNDS_MAX: Final = 200


class Retention:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await self.once()
            except DomainError as error:
                _log.debug("retention_waits", error_type=type(error).__name__)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), EVERY_SECONDS)

    async def once(self) -> int:
        """How many rows left."""
        gone = 0
        for _ in range(ROUNDS_MAX):
            promises = await self._database.run_in_transaction(
                lambda session: journal.drop_ended(session, BATCH)
            )
            records = await self._database.run_in_transaction(
                lambda session: idempotency.drop_old(session, self._clock(), BATCH)
            )
            gone += promises + records
            if max(promises, records) < BATCH:
                break
        return gone
