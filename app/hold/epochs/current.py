"""Which life of the Redis data this process believes in.

Epoch and incarnation are learned together, from one row of Postgres. Every script names the epoch, and
every new connection is compared with the incarnation; on a difference the row is read again and the
work starts over. That is never a refusal.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from sqlalchemy import text

from app.errors import HoldStoreUnavailable
from app.hold.redis.scripts import EpochMoved
from app.storage.database import Database

T = TypeVar("T")

TRIES_MAX = 3
# More than passes between looks that Redis answers at once. No epoch opens sooner than this after the
# end of the one before.
BELIEF_SECONDS = 1.5
_READ = text(
    "SELECT epoch, incarnation, mode, cut, away_since IS NOT NULL AS is_suspected"
    " FROM redis_epoch JOIN epoch_gate USING (shard) WHERE shard = 0"
)


@dataclass(frozen=True, slots=True)
class EpochRow:
    number: int
    incarnation: str | None
    is_open: bool  # mode = redis; else rebuilding
    cut: datetime
    is_suspected: bool = False  # some process got no answer from the hold store


class CurrentEpoch:
    """`run` gives work the present epoch; `alarm` is set when the data behind it seems to be gone."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._row: EpochRow | None = None
        self._learned_at = -math.inf  # by the loop's clock, before it was asked for
        self._incarnation: str | None = None  # outlasts the row: see expected_incarnation
        self.alarm = asyncio.Event()
        self.is_silent = False  # it gives no answer: nobody waits for one in vain

    async def run(self, work: Callable[[int], Awaitable[T]]) -> T:
        """Runs `work(epoch)`, again where the epoch had moved; HoldStoreUnavailable where none is open."""
        for _ in range(TRIES_MAX):
            number = await self.current()
            try:
                return await work(number)
            except EpochMoved:
                self.forget(number)
        self.alarm.set()
        raise HoldStoreUnavailable

    async def current(self) -> int:
        if self.is_silent:
            self.alarm.set()
            raise HoldStoreUnavailable
        row = self._row
        if row is None:
            row = await self.learn()
        if not row.is_open:
            self._row = None
            self.alarm.set()
            raise HoldStoreUnavailable
        return row.number

    def is_certain(self, number: int) -> bool:
        """No later epoch has opened: what was granted before this moment, this epoch's data can know."""
        row = self._row
        if row is None or row.number != number:
            return False
        return asyncio.get_running_loop().time() - self._learned_at < BELIEF_SECONDS

    def expected_incarnation(self) -> str | None:
        """For new connections: whose data they must find; None only before the first was learned.

        Stays while the row is forgotten: work that learned its epoch before is still on its way, and a
        server that came back with old data knows that epoch's number too.
        """
        return self._incarnation

    def forget(self, number: int) -> None:
        if self._row is not None and self._row.number == number:
            self._row = None

    async def learn(self) -> EpochRow:
        asked_at = asyncio.get_running_loop().time()
        row = await self.read()
        self._row = row if row.is_open else None
        if row.is_open:
            self._learned_at = asked_at
            self._incarnation = row.incarnation
        return row

    async def read(self) -> EpochRow:
        async with self._database.reading() as session:
            row = (await session.execute(_READ)).one()
        return EpochRow(
            row.epoch,
            row.incarnation,
            row.mode == "redis",
            row.cut.astimezone(UTC),
            row.is_suspected,
        )
