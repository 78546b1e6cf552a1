"""The relay: reads events that are due, publishes them, then marks them; pass after pass.

One relay publishes, under a lease; others are on standby. First deliveries of an aggregate come in order: an
event is published only when the one before it is marked. Marking comes after publishing, so a crash in
between delivers an event again and never loses one. An event gets its position with its mark, in one write.
While the bus refuses events, positions are assigned before publishing, so that readers of `GET /v1/events` do
not wait for the bus. A refused event is retried later, its aggregate waits for it, and other aggregates do
not. Failures of the database or the bus are logged, counted and retried; only `stop` ends a relay.
Everything awaited has a deadline.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from app.clock import Clock
from app.errors import DatabaseUnavailable
from app.ids import EventId
from app.outbox import delivery, gauges, store
from app.outbox.leadership import RelayLease
from app.outbox.lease_store import Lease
from app.outbox.model import Due
from app.outbox.publisher import Accepted, Outcome, Publisher, Refused
from app.outbox.retry import Backoff
from app.storage.database import Database

BATCH_MAX = 100  # events; EventBridge's larger limit
BATCHES_READ = 10  # in one pass, and marked in one write if the bus is fast
SETTLED_BEFORE_MORE = 8  # successful writes before they grow again after one that failed

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class RelayTimings:
    """Intervals and deadlines. What a pass reads is published and marked well within one lease."""

    lease_seconds: float = 5.0
    renew_seconds: float = 1.0
    publish_seconds: float = 3.0
    gather_seconds: float = 0.1  # of publishing; then the published events are marked
    standby_seconds: float = 0.25
    measure_seconds: float = 1.0
    idle: Backoff = field(default=Backoff(0.02, 0.25))
    outage: Backoff = field(default=Backoff(0.1, 2.0))  # of the database or the whole bus
    refusal: Backoff = field(default=Backoff(0.1, 10.0))  # of one event
    poison: Backoff = field(default=Backoff(1.0, 300.0))  # of one event that is itself at fault

    def __post_init__(self) -> None:
        pass_seconds = self.gather_seconds + self.publish_seconds
        assert self.renew_seconds + pass_seconds < self.lease_seconds


class Relay:
    def __init__(
        self,
        database: Database,
        publisher: Publisher,
        clock: Clock,
        *,
        timings: RelayTimings | None = None,
        batch_size: int = BATCH_MAX,
        chance: Callable[[], float] = random.random,
    ) -> None:
        assert 1 <= batch_size <= BATCH_MAX
        self._database = database
        self._publisher = publisher
        self._clock = clock
        self._timings = timings or RelayTimings()
        self._batch_size = batch_size
        self._chance = chance
        self._lease = RelayLease(
            database, seconds=self._timings.lease_seconds, renew_seconds=self._timings.renew_seconds
        )
        self._measured_at = float("-inf")  # by the event loop's clock
        self._limit = batch_size  # shrinks while whole batches fail, to isolate the event at fault
        self._batches = BATCHES_READ  # shrinks while the writes that mark so many fail
        self._settled_in_a_row = 0
        self._has_refused = False  # an event that the bus refused is waiting
        self._settling: asyncio.Task[None] | None = None  # at most one write is under way
        self._settling_ids: Sequence[EventId] = ()  # its events, which are not read again
        self._idle_passes = 0
        self._bus_failures = 0  # consecutive passes in which the bus accepted nothing
        self._outages = 0  # consecutive passes that ended with an error

    async def run(self, stop: asyncio.Event) -> None:
        """Returns after `stop` is set and the batch under way is published and marked."""
        try:
            while not stop.is_set():
                pause_seconds = await self._pass_or_backoff(stop)
                await _pause(stop, pause_seconds)
        finally:
            await self._release()

    async def _pass_or_backoff(self, stop: asyncio.Event) -> float:
        """One pass; returns the pause before the next, in seconds."""
        try:
            pause_seconds = await self._pass(stop)
        except DatabaseUnavailable:
            gauges.FAILURES.labels(reason="database_unavailable").inc()
            _log.warning("relay_database_unavailable", attempts=self._outages + 1)
        except (
            Exception
        ) as error:  # an ended relay would be noticed later than one that logs errors
            gauges.FAILURES.labels(reason="unexpected").inc()
            _log.error("relay_failed", attempts=self._outages + 1, exc_info=error)
        else:
            self._outages = 0
            return pause_seconds
        self._outages += 1
        return self._timings.outage.delay_seconds(self._outages, self._chance())

    async def _pass(self, stop: asyncio.Event) -> float:
        await self._measure_when_due()
        held = await self._lease.ensure()
        if held is None:
            return self._timings.standby_seconds
        count = self._batch_size * self._batches
        numbered = await self._number(count) if self._has_refused else 0
        async with self._database.reading() as session:
            due = await delivery.due(session, held, count, except_for=self._settling_ids)
            is_behind = len(due) < count and await delivery.some_follow(session, due)
        if is_behind:  # readers do not wait until the bus has the event before
            numbered += await self._number(count)
        if due:
            self._idle_passes = 0
            pause_seconds = await self._publish_and_settle(held, due, stop)
            if len(due) < count or self._has_refused:  # else the next events are read meanwhile
                await self._settled()
            return pause_seconds
        if await self._settled() or numbered:
            self._idle_passes = 0
            return 0.0
        self._idle_passes += 1
        return self._timings.idle.bound_seconds(self._idle_passes)

    async def _number(self, count: int) -> int:
        return len(
            await self._database.run_in_transaction(lambda session: store.number(session, count))
        )

    async def _publish_and_settle(
        self, held: Lease, due: Sequence[Due], stop: asyncio.Event
    ) -> float:
        """Publishes batch after batch while the bus accepts all of them fast, then begins one write for all."""
        until = asyncio.get_running_loop().time() + self._timings.gather_seconds
        settled: list[tuple[Due, float | None]] = []
        waiting, pause_seconds, more = self._fewest_failures_first(due), 0.0, True
        while more:
            batch, waiting = waiting[: self._limit], waiting[self._limit :]
            outcomes = await self._publish(batch)
            settled += zip(batch, map(self._delay, batch, outcomes), strict=True)
            pause_seconds = self._pause_after(outcomes)
            accepted_all = all(isinstance(one, Accepted) for one in outcomes)
            self._has_refused = self._has_refused or not accepted_all
            in_time = asyncio.get_running_loop().time() < until
            more = bool(waiting) and accepted_all and in_time and not stop.is_set()
        await self._settled()
        self._settling_ids = [one.event.id for one, _ in settled]
        self._settling = asyncio.create_task(self._settle(held, settled))
        return pause_seconds

    def _fewest_failures_first(self, due: Sequence[Due]) -> Sequence[Due]:
        """While whole batches fail, events with fewer failures go first, until the one at fault is by itself."""
        if self._limit == self._batch_size:
            return due
        return sorted(due, key=lambda one: one.attempts)

    async def _publish(self, batch: Sequence[Due]) -> Sequence[Outcome]:
        """One outcome for each event, whatever the publisher does; the batch size shrinks if all of it failed."""
        reason = "publisher_error"
        try:
            async with asyncio.timeout(self._timings.publish_seconds):
                outcomes = await self._publisher.publish([one.event for one in batch])
            if len(outcomes) == len(batch):
                self._limit = min(self._batch_size, self._limit * 2)
                return outcomes
            _log.error("publisher_miscounted", count=len(batch))
        except TimeoutError:
            reason = "publisher_timeout"
            _log.warning("publisher_timed_out", count=len(batch))
        except Exception as error:
            _log.warning("publisher_failed", count=len(batch), exc_info=error)
        self._limit = max(1, len(batch) // 2)
        return [Refused(retryable=True, reason=reason)] * len(batch)

    async def _settle(self, held: Lease, settled: Sequence[tuple[Due, float | None]]) -> None:
        """Records the outcomes, if the lease is still held."""
        try:
            written = await self._database.run_statement(
                lambda session: delivery.settle(session, held, settled)
            )
        except (
            Exception
        ):  # perhaps too many rows for the deadline: the same number would fail again
            self._batches, self._settled_in_a_row = max(1, self._batches // 2), 0
            raise
        self._settled_in_a_row += 1
        if self._settled_in_a_row % SETTLED_BEFORE_MORE == 0:
            self._batches = min(BATCHES_READ, self._batches * 2)
        if written < len(settled):
            self._lease.lose(held)
        accepted = Counter(one.event.type for one, seconds in settled if seconds is None)
        for type_, count in accepted.items():
            gauges.PUBLISHED.labels(type=type_).inc(count)

    async def _settled(self) -> bool:
        """Waits for the write under way; False if there is none."""
        settling, self._settling = self._settling, None
        if settling is None:
            return False
        try:
            await settling
        finally:
            self._settling_ids = ()
        return True

    def _delay(self, one: Due, outcome: Outcome) -> float | None:
        """How long the event, and with it its aggregate, waits now; None if it was accepted."""
        if isinstance(outcome, Accepted):
            return None
        gauges.FAILURES.labels(reason=outcome.reason).inc()
        attempts = one.attempts + 1
        if outcome.retryable:
            return self._timings.refusal.delay_seconds(attempts, self._chance())
        _log.error(
            "event_refused",
            event_id=one.event.id,
            event_type=one.event.type,
            attempts=attempts,
            reason=outcome.reason,
        )
        return self._timings.poison.delay_seconds(attempts, self._chance())

    def _pause_after(self, outcomes: Sequence[Outcome]) -> float:
        """0, unless the bus accepted nothing although no event was at fault: then it is unavailable."""
        retryable = [one for one in outcomes if isinstance(one, Refused) and one.retryable]
        if retryable:
            _log.warning("publish_refused", count=len(retryable), reason=retryable[0].reason)
        if len(retryable) < len(outcomes):
            self._bus_failures = 0
            return 0.0
        self._bus_failures += 1
        return self._timings.outage.delay_seconds(self._bus_failures, self._chance())

    async def _measure_when_due(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._measured_at < self._timings.measure_seconds:
            return
        self._measured_at = now
        async with self._database.reading() as session:
            found = await store.backlog(session)
        gauges.BACKLOG.set(found.waiting)
        gauges.REFUSED.set(found.refused)
        self._has_refused = found.refused > 0
        age = 0.0 if found.oldest_at is None else (self._clock() - found.oldest_at).total_seconds()
        gauges.LAG_SECONDS.set(max(0.0, age))

    async def _release(self) -> None:
        try:
            await self._settled()
        except Exception as error:
            _log.warning("relay_final_mark_failed", exc_info=error)
        await self._lease.release()


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    if seconds <= 0:
        await asyncio.sleep(0)
        return
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass
