"""The expirer: reclaims the seats of expired holds, and records their expiry in the journal.

Every hold script reclaims expired seats itself, so the expirer never decides whether a seat is free. It
keeps the seats shown by searches at most a second late, and the journal up to date.
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
            if not await self._epochs.run(self._record_expiries):
                break

    async def _record_expiries(self, life: Life) -> bool:
        """Write EXPIRED into some journal entries; return whether there may be more."""
        hold_ids = await life.holds.unrecorded_expiries()
        if not hold_ids:
            return False

        async def mark(session: WriteSession) -> bool:
            return await mark_expired(session, life.number, hold_ids)

        if not await self._database.run_in_transaction(mark):
            return False
        await life.holds.forget_expired(hold_ids)
        return True
