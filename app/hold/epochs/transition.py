"""The end of an epoch and the beginning of the next, in Postgres, and the lease to do it.

One process at a time has the lease. It closes the gate, so that no new proof of the old epoch begins,
waits by a lock for those that have begun, and increases the epoch's number: from then on a transaction that
proves an earlier one writes nothing.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

from sqlalchemy import TextClause, text

from app.errors import DomainError, HoldStoreUnavailable
from app.storage.database import Database, WriteSession

LEASE_SECONDS = 15
EXPIRE_MAX = 2000  # holds that one statement reads

_TAKE_LEASE = text(
    """
    UPDATE epoch_gate SET rebuilder = :who,
        rebuilder_until = clock_timestamp() + make_interval(secs => :seconds)
    WHERE shard = 0 AND (rebuilder IS NULL OR rebuilder = :who OR rebuilder_until < clock_timestamp())
    RETURNING shard
    """
)
_DROP_LEASE = text(
    "UPDATE epoch_gate SET rebuilder = NULL, closing_until = 'epoch' WHERE shard = 0 AND rebuilder = :who"
)
_CLOSE_GATE = text(
    "UPDATE epoch_gate SET closing_until = clock_timestamp() + interval '3 seconds'"
    " WHERE shard = 0 AND rebuilder = :who"
)
_OPEN_GATE = text(
    "UPDATE epoch_gate SET closing_until = 'epoch' WHERE shard = 0 AND rebuilder = :who"
)
_LOCK_EPOCH = text("SELECT epoch FROM redis_epoch WHERE shard = 0 FOR UPDATE")
_BUMP = text(
    """
    UPDATE redis_epoch SET epoch = epoch + 1, mode = 'rebuilding', bumped_at = clock_timestamp(),
        cut = greatest(cut, coalesce((SELECT max(granted_at) FROM hold_journal), cut))
    WHERE shard = 0
    RETURNING epoch, cut
    """
)
# In pages of held rows, not of expired ones, and each page once: no statement exceeds its timeout, however
# many rows there are of either.
_EXPIRE_BEFORE_CUT = text(
    """
    WITH page AS MATERIALIZED (
        SELECT hold_id, expires_at FROM hold_journal
        WHERE state = 'HELD' AND hold_id > :after ORDER BY hold_id LIMIT :count),
    ended AS (
        UPDATE hold_journal SET state = 'EXPIRED', ended_at = clock_timestamp()
        WHERE hold_id = ANY(ARRAY(
                SELECT hold_id FROM page WHERE expires_at <= :cut ORDER BY hold_id))
          AND state = 'HELD')
    SELECT max(hold_id) FROM page
    """
)
_PUBLISH = text(
    "UPDATE redis_epoch SET mode = 'redis', incarnation = :incarnation"
    " WHERE shard = 0 AND epoch = :epoch AND mode = 'rebuilding'"
)


class EpochTransition:
    def __init__(self, database: Database, who: str) -> None:
        """`who`: this process, in the lease that keeps rebuilders apart."""
        self._database = database
        self._who = who
        self.is_overtaken = False  # another process had the lease at the last attempt

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[None]:
        """Raises HoldStoreUnavailable while another process has it."""
        self.is_overtaken = not await self.take_lease()
        if self.is_overtaken:
            raise HoldStoreUnavailable("Another process is rebuilding the hold store.")
        try:
            yield
        finally:
            with suppress(DomainError):
                await self._execute(_DROP_LEASE)

    async def take_lease(self) -> bool:
        """Takes or renews the lease; False while another process has it."""

        async def take(session: WriteSession) -> bool:
            result = await session.execute(
                _TAKE_LEASE, {"who": self._who, "seconds": float(LEASE_SECONDS)}
            )
            return result.one_or_none() is not None

        return await self._database.run_in_transaction(take)

    async def end_epoch(self, seen: int) -> tuple[int, datetime]:
        """Ends the epoch `seen`; returns the number of the next, and the cut. Needs the lease."""
        await self._execute(_CLOSE_GATE)
        begun = await self._database.run_in_transaction(lambda session: _bump(session, seen))
        await self._execute(_OPEN_GATE)
        return begun

    async def publish(self, epoch: int, incarnation: str) -> None:
        """Makes `epoch` provable, with this incarnation. Raises HoldStoreUnavailable if a newer one began."""

        async def publish(session: WriteSession) -> None:
            result = await session.execute(_PUBLISH, {"epoch": epoch, "incarnation": incarnation})
            if result.rowcount != 1:
                raise HoldStoreUnavailable("A newer rebuild has begun.")

        await self._database.run_in_transaction(publish)

    async def _execute(self, statement: TextClause) -> None:
        async def execute(session: WriteSession) -> None:
            await session.execute(statement, {"who": self._who})

        await self._database.run_in_transaction(execute)


async def _bump(session: WriteSession, seen: int) -> tuple[int, datetime]:
    """Ends every earlier epoch, after the transactions that have proved it have committed."""
    number = (await session.execute(_LOCK_EPOCH)).scalar_one()
    if number != seen:
        raise HoldStoreUnavailable("Another process has begun a newer epoch.")
    epoch, cut = (await session.execute(_BUMP)).one()
    after: str | None = ""
    while after is not None:
        values = {"cut": cut, "after": after, "count": EXPIRE_MAX}
        after = (await session.execute(_EXPIRE_BEFORE_CUT, values)).scalar_one()
    return int(epoch), cut.astimezone(UTC)
