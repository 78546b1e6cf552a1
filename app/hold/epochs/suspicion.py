"""Whether Redis is unreachable for all processes, or for one alone.

A process that cannot reach Redis records a suspicion in Postgres; a process that can reach it clears the
suspicion. All processes share a suspicion that stands for a while, since each probes every second.
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
        """Records that this process cannot reach Redis; True if the suspicion has stood for so long."""

        async def raise_(session: WriteSession) -> bool:
            result = await session.execute(_RAISE, {"seconds": stood_for_seconds})
            return bool(result.scalar_one())

        return await self._database.run_in_transaction(raise_)

    async def clear(self) -> None:
        """Records that this process can reach Redis."""

        async def clear(session: WriteSession) -> None:
            await session.execute(_CLEAR)

        await self._database.run_in_transaction(clear)
