"""Rebuilds the Redis data from Postgres, under a new epoch, when Redis lost it or was replaced.

`RecoveryGuardian.watch` probes each second, and at once on an alarm: is the epoch of the row open in Redis,
is it the same incarnation, and is its data complete? If not, the process that gets the lease rebuilds, in
the order of docs/decisions/0005-journaled-holds.md; after any failure no epoch is open, and the next attempt
starts over with a higher one. If no process reaches Redis for `UNREACHABLE_SECONDS`, the epoch is ended too,
as by a rebuild that stopped after its first step. Until one is open again new holds are answered 503,
no hold expires, and holds that the journal has can be booked.
"""

import asyncio
from datetime import datetime, timedelta

import structlog
from redis.asyncio import Redis

from app.clock import Clock
from app.errors import DomainError, HoldStoreUnavailable
from app.hold.epochs.current import CERTAIN_SECONDS, CurrentEpoch, EpochRow
from app.hold.epochs.failure_detector import FailureDetector
from app.hold.epochs.loader import Loader
from app.hold.epochs.suspicion import Suspicions
from app.hold.epochs.transition import EpochTransition
from app.hold.redis.epochs import RedisEpochs
from app.hold.redis.scripts import EpochMoved, Scripts
from app.storage.database import Database
from app.storage.redis import UNREACHABLE, HoldServer

_log = structlog.get_logger(__name__)

PROBE_EVERY_SECONDS = 1.0
PROBE_AGAIN_SECONDS = 0.25  # after a probe without an answer
PROBE_PAUSE_SECONDS = 0.05
PROBE_TIMEOUT_SECONDS = 1.0  # a later answer counts as none
UNREACHABLE_SECONDS = 1.5  # long enough for every process to probe and to clear the suspicion
RENEWED_AFTER_SECONDS = 3.0
_TRANSIENT: tuple[type[Exception], ...] = (
    DomainError,
    EpochMoved,
    *UNREACHABLE,
)  # the next round tries again
_UNREACHABLE: tuple[type[Exception], ...] = (HoldStoreUnavailable, *UNREACHABLE)
DEPARTED_FOR = timedelta(days=1)  # flights that departed longer ago are not loaded


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
        self._probe = server.connect()  # accepts any incarnation, for the failure detector
        self._detector = FailureDetector(database, self._probe)
        self._suspicions = Suspicions(database)
        self._epochs = epochs
        self._ttl = ttl
        self._clock = clock
        self._transition = EpochTransition(database, who)
        self._was_unreachable = False  # in the last probe
        self._pooled: str | None = None  # the incarnation that the client's connections lead to
        self._deleting: asyncio.Task[None] | None = None

    async def watch(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await self.ensure_open()
            except _TRANSIENT as error:
                _log.warning("epoch_not_open", error_type=type(error).__name__)
            except Exception:  # a defect must not end the watch
                _log.exception("guardian_failed")
            self._epochs.alarm.clear()
            # A bound for the alarm, which every request raises while another process rebuilds.
            await asyncio.sleep(
                PROBE_AGAIN_SECONDS if self._transition.is_overtaken else PROBE_PAUSE_SECONDS
            )
            pause = PROBE_AGAIN_SECONDS if self._was_unreachable else PROBE_EVERY_SECONDS
            await _first_of(pause, self._epochs.alarm, stop)

    async def ensure_open(self) -> None:
        """Returns if the current epoch is open in the Redis that answers, perhaps after a rebuild; else raises."""
        row = await self._epochs.learn()
        try:
            patience = PROBE_TIMEOUT_SECONDS / 2 if self._was_unreachable else PROBE_TIMEOUT_SECONDS
            probe = await self._detector.probe(row, patience)
        except _UNREACHABLE as error:
            # One late answer may be the fault of this process: the next probe decides.
            self._epochs.is_silent = self._was_unreachable or not isinstance(error, TimeoutError)
            self._was_unreachable = True
            await self._end_epoch_if_unreachable(row)
            raise HoldStoreUnavailable from error
        self._was_unreachable = self._epochs.is_silent = self._transition.is_overtaken = False
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
        """Ends the epoch, whatever its state, and rebuilds the next one from Postgres."""
        row = await self._epochs.learn()
        probe = await self._detector.probe(row, PROBE_TIMEOUT_SECONDS)
        await self._rebuild(row, probe.incarnation)
        await self._epochs.learn()

    async def close(self) -> None:
        await self._stop_deleting()
        await self._probe.aclose()

    async def _end_epoch_if_unreachable(self, row: EpochRow) -> None:
        """Lets bookings proceed without a pin, which needs Redis: none is needed while no epoch is open."""
        if not row.is_open or not await self._suspicions.raise_(UNREACHABLE_SECONDS):
            return
        async with self._transition.lease():
            epoch, _ = await self._transition.end_epoch(row.number)
        _log.warning("redis_unreachable", epoch=epoch)
        await self._epochs.learn()

    async def _rebuild(self, seen: EpochRow, incarnation: str) -> None:
        async with self._transition.lease():
            await self._stop_deleting()
            # Its connections accept only this incarnation: a restart during the load ends the attempt.
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
            self._deleting = asyncio.create_task(self._delete_old_keys(opened, incarnation))

    async def _delete_old_keys(self, opened: int, incarnation: str) -> None:
        """Deletes the keys of earlier epochs in the background; the next rebuild deletes what this one leaves."""
        client = self._server.connect(lambda: incarnation)
        try:
            await RedisEpochs(Scripts(client), self._ttl).delete_keys_before(opened)
        except _TRANSIENT as error:
            _log.warning("discard_failed", epoch=opened, error_type=type(error).__name__)
        finally:
            await client.aclose()

    async def _stop_deleting(self) -> None:
        if self._deleting is not None:
            self._deleting.cancel()
            await asyncio.wait([self._deleting])
            self._deleting = None


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
        self._since = since  # flights that departed earlier are not loaded
        self.leaves_keys = True  # of earlier epochs
        self._renewed_at = asyncio.get_running_loop().time()

    async def run(self, seen: EpochRow) -> int:
        """Returns the number of the epoch that is open afterwards."""
        epoch, cut = await self._transition.end_epoch(seen.number)
        ended_at = asyncio.get_running_loop().time()
        _log.info("rebuild_begun", epoch=epoch)
        life = self._redis.life(epoch)
        has_failed = await self._redis.open_number() is None  # or it is empty
        if not await life.loading.begin():
            raise HoldStoreUnavailable("A newer rebuild has begun.")
        if has_failed:  # the keys of failed attempts must not accumulate
            await self._redis.delete_keys_before(epoch)
            self.leaves_keys = False
        loading = Loader(self._database, life, self._since, self._keep_lease)
        await loading.load()
        if seen.incarnation is not None:  # else no epoch was open before
            await self._wait_until_uncertain(ended_at)
        await self._transition.publish(epoch, self._incarnation)
        await loading.correct()
        await life.loading.open(max(cut, loading.last_granted_at))
        _log.info("rebuild_done", epoch=epoch, count=len(loading.loaded))
        return epoch

    async def _wait_until_uncertain(self, ended_at: float) -> None:
        """Waits until no process is certain of an earlier epoch; bookings continue meanwhile."""
        left = ended_at + CERTAIN_SECONDS - asyncio.get_running_loop().time()
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
