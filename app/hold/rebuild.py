"""Gives Redis its data back from Postgres, under a new epoch, whenever it lost it or is another one.

`Guardian.watch` looks each second, and at once on an alarm: is the epoch of the row open in Redis, and
is it the same incarnation? If not, the one process that gets the lease rebuilds, in the order of
docs/decisions/0005-journaled-holds.md; a failure anywhere leaves nothing open, and the next round
starts over with a higher epoch. Until then new holds are answered 503 and nothing expires.
"""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import structlog
from redis.asyncio import Redis
from sqlalchemy import text

from app.clock import Clock
from app.errors import DomainError, HoldStoreUnavailable
from app.hold import journal
from app.hold.epoch import EpochKeeper, EpochRow
from app.hold.epoch_store import EpochStore
from app.hold.model import JournalState, Promise
from app.hold.scripts import EpochMoved, Scripts
from app.hold.seats import SeatStore
from app.hold.store import HoldStore
from app.ids import HoldId
from app.inventory import store as inventory_store
from app.inventory.model import InventoryRow
from app.storage.database import Database, WriteSession
from app.storage.redis import UNREACHABLE, HoldServer, incarnation_of

_log = structlog.get_logger(__name__)

LOOK_EVERY_SECONDS = 1.0
LOOK_PAUSE_SECONDS = 0.05
LEASE_SECONDS = 15
CHUNK = 500
EXPIRED_AT_ONCE = 5000
_PASSING: tuple[type[Exception], ...] = (DomainError, EpochMoved, *UNREACHABLE)  # tried again
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
_EXPIRE_BEFORE_CUT = text(
    "UPDATE hold_journal SET state = 'EXPIRED', ended_at = clock_timestamp()"
    " WHERE hold_id IN (SELECT hold_id FROM hold_journal"
    "   WHERE state = 'HELD' AND expires_at <= :cut ORDER BY hold_id LIMIT :count)"
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
        self._epochs = epochs
        self._ttl = ttl
        self._clock = clock
        self._who = who  # this process, in the lease that keeps rebuilders apart
        self._pooled: str | None = None  # the incarnation that the client's connections lead to

    async def watch(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await self.ensure_open()
            except _PASSING as error:
                _log.warning("hold_store_not_open", error_type=type(error).__name__)
            except Exception:  # a mistake of ours must not end the watch
                _log.exception("hold store not looked after")
            self._epochs.alarm.clear()
            await asyncio.sleep(LOOK_PAUSE_SECONDS)  # however often the alarm is raised
            await _first_of(LOOK_EVERY_SECONDS, self._epochs.alarm, stop)

    async def ensure_open(self) -> None:
        """Returns when the present epoch is open in the Redis that is there; else raises."""
        row = await self._epochs.read()
        incarnation = await incarnation_of(self._probe)
        if not await self._is_open(row, incarnation):
            await self._rebuild(row, incarnation)
            row = await self._epochs.read()
        await self._epochs.learn()
        if self._pooled not in (None, row.incarnation):
            await self._server.reconnect(self._client)  # some may lead to the old server
        self._pooled = row.incarnation

    async def close(self) -> None:
        await self._probe.aclose()

    async def _is_open(self, row: EpochRow, incarnation: str) -> bool:
        if not row.is_open or row.incarnation != incarnation:
            return False
        number = await EpochStore(Scripts(self._probe)).open_epoch_number()
        return number == row.number

    async def _rebuild(self, seen: EpochRow, incarnation: str) -> None:
        if not await self._take_lease():
            raise HoldStoreUnavailable("Another process is rebuilding the hold store.")
        # Its connections accept this incarnation alone: a restart in mid-load ends the attempt.
        client = self._server.connect(lambda: incarnation)
        try:
            await _Rebuild(self, Scripts(client), incarnation).run(seen.number)
        finally:
            await client.aclose()
            with suppress(DomainError):
                await self._execute(_DROP_LEASE)

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
        self._store = HoldStore(scripts, guardian._ttl)
        self._seats = SeatStore(scripts)
        self._epoch_store = EpochStore(scripts)
        self._incarnation = incarnation
        self._since = guardian._clock() - DEPARTED_FOR
        self._clock_at_least = datetime.min.replace(tzinfo=UTC)
        self._loaded: set[HoldId] = set()

    async def run(self, seen: int) -> None:
        await self._guardian._execute(_CLOSE_GATE)
        epoch, self._clock_at_least = await self._database.run_in_transaction(
            lambda session: _bump(session, seen)
        )
        await self._guardian._execute(_OPEN_GATE)
        _log.info("rebuild_begun", epoch=epoch)
        if not await self._epoch_store.begin_loading(epoch):
            raise HoldStoreUnavailable("A newer rebuild has begun.")
        await self._load(epoch)
        await self._database.run_in_transaction(lambda session: self._flip(session, epoch))
        await self._correct(epoch)
        await self._epoch_store.open_epoch(epoch, self._clock_at_least)
        _log.info("rebuild_done", epoch=epoch, count=len(self._loaded))
        await self._epoch_store.discard_earlier_epochs(epoch)

    async def _load(self, epoch: int) -> None:
        async with self._database.snapshot() as session:
            async for page in inventory_store.all_rows(session, self._since):
                await self._apply(epoch, page)
            after = ""
            while promises := await journal.held_page(session, after, CHUNK):
                await self._load_holds(epoch, promises)
                after = promises[-1].hold_id

    async def _flip(self, session: WriteSession, epoch: int) -> None:
        result = await session.execute(_FLIP, {"epoch": epoch, "incarnation": self._incarnation})
        if result.rowcount != 1:
            raise HoldStoreUnavailable("A newer rebuild has begun.")

    async def _correct(self, epoch: int) -> None:
        """Reads Postgres again and mends Redis both ways: bookings went on while it was loaded."""
        still_held: set[HoldId] = set()
        async with self._database.snapshot() as session:
            async for page in inventory_store.all_rows(session, self._since):
                await self._apply(epoch, page)
            after = ""
            while promises := await journal.held_page(session, after, CHUNK):
                still_held.update(promise.hold_id for promise in promises)
                missing = [p for p in promises if p.hold_id not in self._loaded]
                await self._load_holds(epoch, missing)
                after = promises[-1].hold_id
        for hold_id in sorted(self._loaded - still_held):
            await self._end(epoch, hold_id)

    async def _end(self, epoch: int, hold_id: HoldId) -> None:
        async with self._database.reading() as session:
            promise = await journal.read(session, hold_id)
            assert promise is not None, "a journal row leaves long after its hold"
            rows = await inventory_store.read_rows(session, {ln.flight_id for ln in promise.lines})
        if promise.state is JournalState.CONFIRMED:
            await self._store.finish(epoch, hold_id, rows, loading=True)
        else:
            await self._store.end(epoch, hold_id, promise.state, loading=True)

    async def _apply(self, epoch: int, rows: Sequence[InventoryRow]) -> None:
        for start in range(0, len(rows), CHUNK):
            await self._seats.apply(epoch, rows[start : start + CHUNK], loading=True)
        await self._renew_lease()

    async def _renew_lease(self) -> None:
        if not await self._guardian._take_lease():
            raise HoldStoreUnavailable("The lease of this rebuild ran out.")

    async def _load_holds(self, epoch: int, promises: Iterable[Promise]) -> None:
        live = list(promises)
        if live:
            await self._epoch_store.load_holds(epoch, live)
            await self._renew_lease()
            self._loaded.update(promise.hold_id for promise in live)
            self._clock_at_least = max(self._clock_at_least, *(p.granted_at for p in live))


async def _bump(session: WriteSession, seen: int) -> tuple[int, datetime]:
    """Ends every earlier epoch: waits for what is being written on its word, and then nothing is."""
    number = (await session.execute(_LOCK_EPOCH)).scalar_one()
    if number != seen:
        raise HoldStoreUnavailable("Another process has begun a newer epoch.")
    epoch, cut = (await session.execute(_BUMP)).one()
    values = {"cut": cut, "count": EXPIRED_AT_ONCE}  # no statement outlasts its timeout
    while (await session.execute(_EXPIRE_BEFORE_CUT, values)).rowcount == EXPIRED_AT_ONCE:
        pass
    return int(epoch), cut.astimezone(UTC)


async def _first_of(seconds: float, *events: asyncio.Event) -> None:
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
