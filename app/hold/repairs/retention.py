"""Retention: deletes rows that ended 30 days ago, in small batches.

The age of a journal entry counts from its end, so an entry that is HELD is never deleted.
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
        """Make one pass; return the number of rows deleted."""
        deleted = 0
        for _ in range(ROUNDS_MAX):
            entries = await self._database.run_in_transaction(
                lambda session: journal.drop_ended(session, BATCH)
            )
            records = await self._database.run_in_transaction(
                lambda session: idempotency.drop_old(session, self._clock(), BATCH)
            )
            deleted += entries + records
            if max(entries, records) < BATCH:
                break
        return deleted
