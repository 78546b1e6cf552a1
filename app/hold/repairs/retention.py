"""Lets go of what ended long ago, in small batches, so that tables do not grow for ever.

A promise that is HELD never leaves by age: only its own end starts the clock.
"""

from typing import Final

from app.clock import Clock
from app.hold.journal import store as journal
from app.idempotency import store as idempotency
from app.storage.database import Database

BATCH: Final = 500
ROUNDS_MAX: Final = 200


class Retention:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def run_once(self) -> int:
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
