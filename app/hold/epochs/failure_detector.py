"""Probes Redis: is it the expected incarnation, and is its data complete?

Old data comes with another incarnation, unless it was restored under a running server. Then the clock in
Redis is behind a grant that the journal has, or grants of the last seconds are unknown. The probe reads
both outside the requests, so that no hold pays for it.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from redis.asyncio import Redis

from app.hold.epochs.current import EpochRow
from app.hold.journal import scans
from app.hold.model import Grant, MemoState
from app.hold.redis.epochs import RedisEpochs
from app.hold.redis.scripts import EpochMoved, Scripts
from app.storage.database import Database
from app.storage.redis import incarnation_of

LOST_MIN: Final = 3  # unknown grants; fewer are drift, which is repaired in the same epoch


class Fault(StrEnum):
    """Why the epoch of the row is not, or must not stay, open in this server."""

    ENDED = "ended"  # in Postgres: it is to be loaded
    REPLACED = "replaced"  # another incarnation
    EMPTIED = "emptied"  # this one, without the epoch
    WENT_BACK = "went_back"  # this one, with older data


@dataclass(frozen=True, slots=True)
class Probe:
    incarnation: str
    fault: Fault | None


class FailureDetector:
    def __init__(self, database: Database, probe: Redis) -> None:
        """`probe` accepts any incarnation."""
        self._database = database
        self._probe = probe
        self._redis = RedisEpochs(Scripts(probe), timedelta(0))

    async def probe(self, row: EpochRow, seconds: float) -> Probe:
        """Raises HoldStoreUnavailable, or what an unreachable server raises, TimeoutError too."""
        async with self._database.reading() as session:
            # First, since Redis had each grant before the journal; outside the timeout, which is for Redis.
            grants = await scans.newest_grants(session, row.number)
        async with asyncio.timeout(seconds):
            incarnation = await incarnation_of(self._probe)
            return Probe(incarnation, await self._fault(row, incarnation, grants))

    async def _fault(
        self, row: EpochRow, incarnation: str, grants: Sequence[Grant]
    ) -> Fault | None:
        if not row.is_open:
            return Fault.ENDED
        if row.incarnation != incarnation:
            return Fault.REPLACED
        if await self._redis.open_number() != row.number:
            return Fault.EMPTIED
        try:
            return None if await self._is_whole(row, grants) else Fault.WENT_BACK
        except EpochMoved:
            return Fault.EMPTIED

    async def _is_whole(self, row: EpochRow, grants: Sequence[Grant]) -> bool:
        clock = await self._redis.clock()
        if clock is None or clock < max([row.cut, *(grant.granted_at for grant in grants)]):
            return False
        if not grants:
            return True
        life = self._redis.life(row.number)
        seen = await life.holds.read_memos([grant.hold_id for grant in grants])
        unknown = [
            grant
            for grant in grants
            if seen[grant.hold_id].state is MemoState.UNKNOWN
            and grant.expires_at > seen[grant.hold_id].now
        ]
        return len(unknown) < LOST_MIN
