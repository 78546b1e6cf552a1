"""The background half of expiry: what is shown is at most a second late, and the journal learns of it.

Whether a seat is free is never decided here: every hold script takes back by itself what has run out.
"""

from app.hold.epochs.current import CurrentEpoch
from app.hold.expiry import mark_expired
from app.hold.redis.life import Life
from app.storage.database import Database, WriteSession

ROUNDS_MAX = 50  # of 200 holds each


class Expirer:
    def __init__(self, database: Database, epochs: CurrentEpoch) -> None:
        self._database = database
        self._epochs = epochs

    async def run_once(self) -> None:
        for _ in range(ROUNDS_MAX):
            if not await self._epochs.run(lambda life: life.holds.expire_due()):
                break
        for _ in range(ROUNDS_MAX):
            if not await self._epochs.run(self._tell_journal):
                break

    async def _tell_journal(self, life: Life) -> bool:
        """Marks a handful as EXPIRED; True where there may be more."""
        hold_ids = await life.holds.unrecorded_expiries()
        if not hold_ids:
            return False

        async def mark(session: WriteSession) -> bool:
            return await mark_expired(session, life.number, hold_ids)

        if not await self._database.run_in_transaction(mark):
            return False
        await life.holds.forget_expired(hold_ids)
        return True
