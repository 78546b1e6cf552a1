"""The epoch that this process takes to be open.

Epoch and incarnation are read from one row of Postgres. Every script names the epoch, and every new
connection is compared with the incarnation; on a difference the row is read again and the work starts
over. That is never a refusal.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from sqlalchemy import text

from app.errors import HoldStoreUnavailable
from app.hold.redis.epochs import RedisEpochs
from app.hold.redis.life import Life
from app.hold.redis.scripts import EpochMoved
from app.storage.database import Database

T = TypeVar("T")

TRIES_MAX = 3
# Longer than the interval of the failure detector's probes. No epoch opens sooner than this after the end
# of the one before.
CERTAIN_SECONDS = 1.5
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
    is_suspected: bool = False  # a process got no answer from Redis


class ExpectedIncarnation:
    """The incarnation that new connections must find; None only before the first epoch was read.

    It stays while the row is forgotten: work that read its epoch earlier is still running, and a server
    that came back with old data knows that epoch's number too.
    """

    def __init__(self) -> None:
        self.value: str | None = None

    def get(self) -> str | None:
        return self.value


class CurrentEpoch:
    """Gives work the open epoch (`run`); `alarm` is set when the data behind it seems to be lost."""

    def __init__(
        self, database: Database, redis: RedisEpochs, incarnation: ExpectedIncarnation
    ) -> None:
        """The connections of `redis` expect `incarnation`, which is kept up to date here."""
        self._database = database
        self._redis = redis
        self._incarnation = incarnation
        self._row: EpochRow | None = None
        self._life: Life | None = (
            None  # of the row read last: one for each epoch, not for each request
        )
        self._learned_at = -math.inf  # by the loop's clock, before the row was read
        self.alarm = asyncio.Event()
        self.is_silent = False  # Redis does not answer: requests fail at once instead of waiting

    async def run(self, work: Callable[[Life], Awaitable[T]]) -> T:
        """Runs `work` in the open epoch, again where that had moved.

        Raises HoldStoreUnavailable where none is open.
        """
        for _ in range(TRIES_MAX):
            life = await self.life()
            try:
                return await work(life)
            except EpochMoved:
                self.forget(life.number)
        self.alarm.set()
        raise HoldStoreUnavailable

    async def number(self) -> int:
        return (await self.life()).number

    async def life(self) -> Life:
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
        life = self._life
        if life is None or life.number != row.number:
            life = self._life = self._redis.life(row.number)
        return life

    def is_certain(self, number: int) -> bool:
        """Whether no later epoch has opened, so that this epoch's data has every earlier grant."""
        row = self._row
        if row is None or row.number != number:
            return False
        return asyncio.get_running_loop().time() - self._learned_at < CERTAIN_SECONDS

    def forget(self, number: int) -> None:
        if self._row is not None and self._row.number == number:
            self._row = None

    async def learn(self) -> EpochRow:
        asked_at = asyncio.get_running_loop().time()
        row = await self.read()
        self._row = row if row.is_open else None
        if row.is_open:
            self._learned_at = asked_at
            self._incarnation.value = row.incarnation
        return row

    async def read(self) -> EpochRow:
        return await read_row(self._database)


async def read_row(database: Database) -> EpochRow:
    async with database.reading() as session:
        row = (await session.execute(_READ)).one()
    return EpochRow(
        row.epoch,
        row.incarnation,
        row.mode == "redis",
        row.cut.astimezone(UTC),
        row.is_suspected,
    )
