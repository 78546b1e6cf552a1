"""Gives Redis its data back from Postgres, under a new epoch, whenever it lost it or is another one.

`RecoveryGuardian.watch` looks each second, and at once on an alarm: is the epoch of the row open in Redis, is
it the same incarnation, and is its data all there? If not, the one process that gets the lease
rebuilds, in the order of docs/decisions/0005-journaled-holds.md; a failure anywhere leaves nothing
open, and the next round starts over with a higher epoch. Where no Redis answers anybody for
`AWAY_SECONDS` the epoch is ended all the same, as by a rebuild that stopped after its first step.
Until one is open again new holds are answered 503, nothing expires, and promised holds can be booked.
"""

import asyncio
from datetime import datetime, timedelta

import structlog
from redis.asyncio import Redis

from app.clock import Clock
from app.errors import DomainError, HoldStoreUnavailable
from app.hold.epochs.current import BELIEF_SECONDS, CurrentEpoch, EpochRow
from app.hold.epochs.failure_detector import FailureDetector
from app.hold.epochs.loader import Loader
from app.hold.epochs.suspicion import Suspicions
from app.hold.epochs.transition import EpochTransition
from app.hold.redis.epochs import RedisEpochs
from app.hold.redis.scripts import EpochMoved, Scripts
from app.storage.database import Database
from app.storage.redis import UNREACHABLE, HoldServer

_log = structlog.get_logger(__name__)

LOOK_EVERY_SECONDS = 1.0
LOOK_AGAIN_SECONDS = 0.25  # where there was no answer
LOOK_PAUSE_SECONDS = 0.05
LOOK_SECONDS = 1.0  # an answer that takes longer is none
AWAY_SECONDS = 1.5  # longer than it takes any process to look and to say that it is not
RENEWED_AFTER_SECONDS = 3.0
_PASSING: tuple[type[Exception], ...] = (DomainError, EpochMoved, *UNREACHABLE)  # tried again
_AWAY: tuple[type[Exception], ...] = (HoldStoreUnavailable, *UNREACHABLE)
DEPARTED_FOR = timedelta(days=1)  # flights that left longer ago take part in nothing


class RecoveryGuardian:
    def __init__(
        self,
        database: Database,
        server: HoldServer,
        client: Redis,
        epochs: CurrentEpoch,
        ttl: timedelta,
        clock: Clock,
        who: str,
    ) -> None:
        self._database = database
        self._server = server
        self._client = client  # the one requests go through; its connections check the incarnation
        self._probe = server.connect()  # accepts any incarnation: it is the one that looks
        self._detector = FailureDetector(database, self._probe)
        self._suspicions = Suspicions(database)
        self._epochs = epochs
        self._ttl = ttl
        self._clock = clock
        self._transition = EpochTransition(database, who)
        self._was_away = False  # when it was looked for last
        self._pooled: str | None = None  # the incarnation that the client's connections lead to
        self._discarding: asyncio.Task[None] | None = None

    async def watch(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await self.ensure_open()
            except _PASSING as error:
                _log.warning("epoch_not_open", error_type=type(error).__name__)
            except Exception:  # a mistake of ours must not end the watch
                _log.exception("guardian_failed")
            self._epochs.alarm.clear()
            # However often the alarm is raised; while another rebuilds it is raised by every request.
            await asyncio.sleep(
                LOOK_AGAIN_SECONDS if self._transition.is_overtaken else LOOK_PAUSE_SECONDS
            )
            pause = LOOK_AGAIN_SECONDS if self._was_away else LOOK_EVERY_SECONDS
            await _first_of(pause, self._epochs.alarm, stop)

    async def ensure_open(self) -> None:
        """Returns when the present epoch is open in the Redis that is there; else raises."""
        row = await self._epochs.learn()
        try:
            patience = LOOK_SECONDS / 2 if self._was_away else LOOK_SECONDS
            probe = await self._detector.probe(row, patience)
        except _AWAY as error:
            # One late answer may be this process's own lateness: the next look tells.
            self._epochs.is_silent = self._was_away or not isinstance(error, TimeoutError)
            self._was_away = True
            await self._end_epoch_where_away(row)
            raise HoldStoreUnavailable from error
        self._was_away = self._epochs.is_silent = self._transition.is_overtaken = False
        if row.is_suspected:
            await self._suspicions.clear()
        if probe.fault is not None:
            if row.is_open:
                _log.warning("redis_data_lost", epoch=row.number, reason=probe.fault.value)
            await self._rebuild(row, probe.incarnation)
            row = await self._epochs.learn()
        if self._pooled not in (None, row.incarnation):
            await self._server.reconnect(self._client)  # some may lead to the old server
        self._pooled = row.incarnation

    async def start_over(self) -> None:
        """Ends the epoch, whatever it is like, and opens the next from what Postgres has."""
        row = await self._epochs.learn()
        probe = await self._detector.probe(row, LOOK_SECONDS)
        await self._rebuild(row, probe.incarnation)
        await self._epochs.learn()

    async def close(self) -> None:
        await self._stop_discarding()
        await self._probe.aclose()

    async def _end_epoch_where_away(self, row: EpochRow) -> None:
        """So that promised holds can be booked without a pin, which nobody can give."""
        if not row.is_open or not await self._suspicions.raise_(AWAY_SECONDS):
            return
        async with self._transition.lease():
            epoch, _ = await self._transition.end_epoch(row.number)
        _log.warning("redis_unreachable", epoch=epoch)
        await self._epochs.learn()

    async def _rebuild(self, seen: EpochRow, incarnation: str) -> None:
        async with self._transition.lease():
            await self._stop_discarding()
            # Its connections accept this incarnation alone: a restart in mid-load ends the attempt.
            client = self._server.connect(lambda: incarnation)
            try:
                since = self._clock() - DEPARTED_FOR
                rebuild = _Rebuild(
                    self._database,
                    self._transition,
                    RedisEpochs(Scripts(client), self._ttl),
                    incarnation,
                    since,
                )
                opened = await rebuild.run(seen)
            finally:
                await client.aclose()
        if rebuild.leaves_keys:
            self._discarding = asyncio.create_task(self._discard(opened, incarnation))

    async def _discard(self, opened: int, incarnation: str) -> None:
        """Nobody waits for it: what it leaves behind, the next rebuild takes along."""
        client = self._server.connect(lambda: incarnation)
        try:
            await RedisEpochs(Scripts(client), self._ttl).delete_keys_before(opened)
        except _PASSING as error:
            _log.warning("discard_failed", epoch=opened, error_type=type(error).__name__)
        finally:
            await client.aclose()

    async def _stop_discarding(self) -> None:
        if self._discarding is not None:
            self._discarding.cancel()
            await asyncio.wait([self._discarding])
            self._discarding = None


class _Rebuild:
    """One attempt, under the lease."""

    def __init__(
        self,
        database: Database,
        gate: EpochTransition,
        redis: RedisEpochs,
        incarnation: str,
        since: datetime,
    ) -> None:
        self._database = database
        self._transition = gate
        self._redis = redis
        self._incarnation = incarnation
        self._since = since  # flights that left before take no part
        self.leaves_keys = True  # of earlier epochs
        self._renewed_at = asyncio.get_running_loop().time()

    async def run(self, seen: EpochRow) -> int:
        """The epoch that is open now."""
        epoch, cut = await self._transition.end_epoch(seen.number)
        ended_at = asyncio.get_running_loop().time()
        _log.info("rebuild_begun", epoch=epoch)
        life = self._redis.life(epoch)
        has_failed = await self._redis.open_number() is None  # or it is empty
        if not await life.loading.begin():
            raise HoldStoreUnavailable("A newer rebuild has begun.")
        if has_failed:  # what each attempt leaves behind must not add up
            await self._redis.delete_keys_before(epoch)
            self.leaves_keys = False
        loading = Loader(self._database, life, self._since, self._keep_lease)
        await loading.load()
        if seen.incarnation is not None:  # else there was none that anybody believes in
            await self._outlast_belief(ended_at)
        await self._transition.publish(epoch, self._incarnation)
        await loading.correct()
        await life.loading.open(max(cut, loading.last_granted_at))
        _log.info("rebuild_done", epoch=epoch, count=len(loading.loaded))
        return epoch

    async def _outlast_belief(self, ended_at: float) -> None:
        """Until no process is certain of an earlier epoch; bookings of promised holds go on."""
        left = ended_at + BELIEF_SECONDS - asyncio.get_running_loop().time()
        if left > 0:
            await asyncio.sleep(left)
        await self._keep_lease()

    async def _keep_lease(self) -> None:
        if asyncio.get_running_loop().time() - self._renewed_at < RENEWED_AFTER_SECONDS:
            return
        if not await self._transition.take_lease():
            raise HoldStoreUnavailable("The lease of this rebuild ran out.")
        self._renewed_at = asyncio.get_running_loop().time()


async def _first_of(seconds: float, *events: asyncio.Event) -> None:
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
