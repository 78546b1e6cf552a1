"""Gives Redis its data back from Postgres, under a new epoch, whenever it lost it or is another one.

`Guardian.watch` looks each second, and at once on an alarm: is the epoch of the row open in Redis, is
it the same incarnation, and is its data all there? If not, the one process that gets the lease
rebuilds, in the order of docs/decisions/0005-journaled-holds.md; a failure anywhere leaves nothing
open, and the next round starts over with a higher epoch. Where no Redis answers anybody for
`AWAY_SECONDS` the epoch is ended all the same, as by a rebuild that stopped after its first step.
Until one is open again new holds are answered 503, nothing expires, and promised holds can be booked.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta

import structlog
from redis.asyncio import Redis
from sqlalchemy import text

from app.clock import Clock
from app.errors import DomainError, HoldStoreUnavailable
from app.hold.doubt import Doubts
from app.hold.epoch import EpochKeeper, EpochRow
from app.hold.epoch_store import EpochStore
from app.hold.loading import Loading
from app.hold.lookout import Lookout
from app.hold.scripts import EpochMoved, Scripts
from app.hold.seats import SeatStore
from app.hold.store import HoldStore
from app.storage.database import Database, WriteSession
from app.storage.redis import UNREACHABLE, HoldServer

_log = structlog.get_logger(__name__)

LOOK_EVERY_SECONDS = 1.0
LOOK_AGAIN_SECONDS = 0.25  # where there was no answer
LOOK_PAUSE_SECONDS = 0.05
LOOK_SECONDS = 1.0  # an answer that takes longer is none
AWAY_SECONDS = 1.5  # longer than it takes any process to look and to say that it is not
LEASE_SECONDS = 15
RENEWED_AFTER_SECONDS = 3.0
EXPIRED_AT_ONCE = 2000  # holds that are looked at in one statement
_PASSING: tuple[type[Exception], ...] = (DomainError, EpochMoved, *UNREACHABLE)  # tried again
_AWAY: tuple[type[Exception], ...] = (HoldStoreUnavailable, *UNREACHABLE)
DEPARTED_FOR = timedelta(days=1)  # flights that left longer ago take part in nothing

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
# By pages of what is held, not of what has run out, and each page once: no statement outlasts its
# timeout, however many there are of either.
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
_FLIP = text(
    "UPDATE redis_epoch SET mode = 'redis', incarnation = :incarnation"
    " WHERE shard = 0 AND epoch = :epoch AND mode = 'rebuilding'"
)


class Guardian:
    def __init__(
        self,
        database: Database,
        server: HoldServer,
        client: Redis,
        epochs: EpochKeeper,
        ttl: timedelta,
        clock: Clock,
        who: str,
    ) -> None:
        self._database = database
        self._server = server
        self._client = client  # the one requests go through; its connections check the incarnation
        self._probe = server.connect()  # accepts any incarnation: it is the one that looks
        self._lookout = Lookout(database, self._probe)
        self._doubts = Doubts(database)
        self._epochs = epochs
        self._ttl = ttl
        self._clock = clock
        self._who = who  # this process, in the lease that keeps rebuilders apart
        self._was_away = False  # when it was looked for last
        self._is_overtaken = False  # another process rebuilds
        self._pooled: str | None = None  # the incarnation that the client's connections lead to
        self._discarding: asyncio.Task[None] | None = None

    async def watch(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await self.ensure_open()
            except _PASSING as error:
                _log.warning("hold_store_not_open", error_type=type(error).__name__)
            except Exception:  # a mistake of ours must not end the watch
                _log.exception("hold store not looked after")
            self._epochs.alarm.clear()
            # However often the alarm is raised; while another rebuilds it is raised by every request.
            await asyncio.sleep(LOOK_AGAIN_SECONDS if self._is_overtaken else LOOK_PAUSE_SECONDS)
            pause = LOOK_AGAIN_SECONDS if self._was_away else LOOK_EVERY_SECONDS
            await _first_of(pause, self._epochs.alarm, stop)

    async def ensure_open(self) -> None:
        """Returns when the present epoch is open in the Redis that is there; else raises."""
        row = await self._epochs.learn()
        try:
            patience = LOOK_SECONDS / 2 if self._was_away else LOOK_SECONDS
            sighting = await self._lookout.look(row, patience)
        except _AWAY as error:
            # One late answer may be this process's own lateness: the next look tells.
            self._epochs.is_silent = self._was_away or not isinstance(error, TimeoutError)
            self._was_away = True
            await self._end_epoch_where_away(row)
            raise HoldStoreUnavailable from error
        self._was_away = self._epochs.is_silent = self._is_overtaken = False
        if row.is_doubted:
            await self._doubts.withdraw()
        if sighting.fault is not None:
            if row.is_open:
                _log.warning("hold_store_lost", epoch=row.number, reason=sighting.fault.value)
            await self._rebuild(row, sighting.incarnation)
            row = await self._epochs.learn()
        if self._pooled not in (None, row.incarnation):
            await self._server.reconnect(self._client)  # some may lead to the old server
        self._pooled = row.incarnation

    async def start_over(self) -> None:
        """Ends the epoch, whatever it is like, and opens the next from what Postgres has."""
        row = await self._epochs.learn()
        sighting = await self._lookout.look(row, LOOK_SECONDS)
        await self._rebuild(row, sighting.incarnation)
        await self._epochs.learn()

    async def close(self) -> None:
        await self._stop_discarding()
        await self._probe.aclose()

    async def _end_epoch_where_away(self, row: EpochRow) -> None:
        """So that promised holds can be booked without a pin, which nobody can give."""
        if not row.is_open or not await self._doubts.say(AWAY_SECONDS):
            return
        async with self._lease():
            epoch, _ = await self.end_epoch(row.number)
        _log.warning("hold_store_away", epoch=epoch)
        await self._epochs.learn()

    async def _rebuild(self, seen: EpochRow, incarnation: str) -> None:
        async with self._lease():
            await self._stop_discarding()
            # Its connections accept this incarnation alone: a restart in mid-load ends the attempt.
            client = self._server.connect(lambda: incarnation)
            try:
                rebuild = _Rebuild(self, Scripts(client), incarnation)
                opened = await rebuild.run(seen.number)
            finally:
                await client.aclose()
        if rebuild.leaves_keys:
            self._discarding = asyncio.create_task(self._discard(opened, incarnation))

    async def end_epoch(self, seen: int) -> tuple[int, datetime]:
        """The next epoch, and the cut; under the lease."""
        await self._execute(_CLOSE_GATE)
        begun = await self._database.run_in_transaction(lambda session: _bump(session, seen))
        await self._execute(_OPEN_GATE)
        return begun

    @asynccontextmanager
    async def _lease(self) -> AsyncIterator[None]:
        self._is_overtaken = not await self._take_lease()
        if self._is_overtaken:
            raise HoldStoreUnavailable("Another process is rebuilding the hold store.")
        try:
            yield
        finally:
            with suppress(DomainError):
                await self._execute(_DROP_LEASE)

    async def _discard(self, opened: int, incarnation: str) -> None:
        """Nobody waits for it: what it leaves behind, the next rebuild takes along."""
        client = self._server.connect(lambda: incarnation)
        try:
            await EpochStore(Scripts(client)).discard_earlier_epochs(opened)
        except _PASSING as error:
            _log.warning("discarding_ended", epoch=opened, error_type=type(error).__name__)
        finally:
            await client.aclose()

    async def _stop_discarding(self) -> None:
        if self._discarding is not None:
            self._discarding.cancel()
            await asyncio.wait([self._discarding])
            self._discarding = None

    async def _take_lease(self) -> bool:
        async def take(session: WriteSession) -> bool:
            result = await session.execute(
                _TAKE_LEASE, {"who": self._who, "seconds": float(LEASE_SECONDS)}
            )
            return result.one_or_none() is not None

        return await self._database.run_in_transaction(take)

    async def _execute(self, statement: object) -> None:
        async def execute(session: WriteSession) -> None:
            await session.execute(statement, {"who": self._who})  # type: ignore[arg-type] # a text()

        await self._database.run_in_transaction(execute)


class _Rebuild:
    """One attempt, under the guardian's lease."""

    def __init__(self, guardian: Guardian, scripts: Scripts, incarnation: str) -> None:
        self._guardian = guardian
        self._database = guardian._database
        self._epoch_store = EpochStore(scripts)
        self._stores = self._epoch_store, SeatStore(scripts), HoldStore(scripts, guardian._ttl)
        self._incarnation = incarnation
        self.leaves_keys = True  # of earlier epochs
        self._renewed_at = asyncio.get_running_loop().time()

    async def run(self, seen: int) -> int:
        """The epoch that is open now."""
        epoch, cut = await self._guardian.end_epoch(seen)
        _log.info("rebuild_begun", epoch=epoch)
        has_failed = await self._epoch_store.open_epoch_number() is None  # or it is empty
        if not await self._epoch_store.begin_loading(epoch):
            raise HoldStoreUnavailable("A newer rebuild has begun.")
        if has_failed:  # what each attempt leaves behind must not add up
            await self._epoch_store.discard_earlier_epochs(epoch)
            self.leaves_keys = False
        since = self._guardian._clock() - DEPARTED_FOR
        loading = Loading(self._database, self._stores, epoch, since, self._keep_lease)
        await loading.load()
        await self._database.run_in_transaction(lambda session: self._flip(session, epoch))
        await loading.correct()
        await self._epoch_store.open_epoch(epoch, max(cut, loading.last_granted_at))
        _log.info("rebuild_done", epoch=epoch, count=len(loading.loaded))
        return epoch

    async def _keep_lease(self) -> None:
        if asyncio.get_running_loop().time() - self._renewed_at < RENEWED_AFTER_SECONDS:
            return
        if not await self._guardian._take_lease():
            raise HoldStoreUnavailable("The lease of this rebuild ran out.")
        self._renewed_at = asyncio.get_running_loop().time()

    async def _flip(self, session: WriteSession, epoch: int) -> None:
        result = await session.execute(_FLIP, {"epoch": epoch, "incarnation": self._incarnation})
        if result.rowcount != 1:
            raise HoldStoreUnavailable("A newer rebuild has begun.")


async def _bump(session: WriteSession, seen: int) -> tuple[int, datetime]:
    """Ends every earlier epoch: waits for what is being written on its word, and then nothing is."""
    number = (await session.execute(_LOCK_EPOCH)).scalar_one()
    if number != seen:
        raise HoldStoreUnavailable("Another process has begun a newer epoch.")
    epoch, cut = (await session.execute(_BUMP)).one()
    after: str | None = ""
    while after is not None:
        values = {"cut": cut, "after": after, "count": EXPIRED_AT_ONCE}
        after = (await session.execute(_EXPIRE_BEFORE_CUT, values)).scalar_one()
    return int(epoch), cut.astimezone(UTC)


async def _first_of(seconds: float, *events: asyncio.Event) -> None:
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
