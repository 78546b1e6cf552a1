"""Whether the hold store is away for everybody, or for one process alone.

Who gets no answer says so in Postgres; who does get one takes that back. A doubt that nobody took back
for a while is shared by all, since each of them looks every second.
"""

from sqlalchemy import text

from app.storage.database import Database, WriteSession

_RAISE = text(
    """
    UPDATE epoch_gate SET away_since = coalesce(away_since, clock_timestamp()) WHERE shard = 0
    RETURNING away_since <= clock_timestamp() - make_interval(secs => :seconds)
    """
)
_CLEAR = text("UPDATE epoch_gate SET away_since = NULL WHERE shard = 0 AND away_since IS NOT NULL")


class Suspicions:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def raise_(self, stood_for_seconds: float) -> bool:
        """The hold store gives no answer here. True where that was said so long ago, and stands."""

        async def raise_(session: WriteSession) -> bool:
            result = await session.execute(_RAISE, {"seconds": stood_for_seconds})
            return bool(result.scalar_one())

        return await self._database.run_in_transaction(raise_)

    async def clear(self) -> None:
        """The hold store answers here."""

        async def clear(session: WriteSession) -> None:
            await session.execute(_CLEAR)

        await self._database.run_in_transaction(clear)
