"""The way of facts out of the database: read, publish, then mark; again and again.

One relay publishes, by lease; others stand by. Per aggregate, first deliveries come in order: an
event is offered to the bus only when the one before it is marked. Marking comes after publishing, so
a crash in between delivers again and never loses. A fact gets its position with its mark, in one
write; while the bus refuses something, positions are given before, because those who read the list
shall not wait for the bus. A refused event waits for its turn with its aggregate, and the others
pass. Whatever goes wrong with the database or the bus is logged, counted and waited out; only `stop`
ends a relay. Everything awaited is bounded by a deadline.
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
from app.outbox.lease import Lease
from app.outbox.model import Due
from app.outbox.publisher import Accepted, Outcome, Publisher, Refused
from app.outbox.retry import Backoff
from app.storage.database import Database

BATCH_MAX = 100  # events; EventBridge's larger limit
BATCHES_READ = 10  # at once, and marked at once where the bus is quick
SETTLED_BEFORE_MORE = 8  # writes, after one that failed

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class RelayTimings:
    """How often and how long. What is read is published and marked well within one lease."""

    lease_seconds: float = 5.0
    renew_seconds: float = 1.0
    publish_seconds: float = 3.0
    gather_seconds: float = 0.1  # then what was published is marked, and the rest is read again
    standby_seconds: float = 0.25
    measure_seconds: float = 1.0
    idle: Backoff = field(default=Backoff(0.02, 0.25))
    outage: Backoff = field(default=Backoff(0.1, 2.0))  # the database or the whole bus is away
    refusal: Backoff = field(default=Backoff(0.1, 10.0))  # of one event
    poison: Backoff = field(default=Backoff(1.0, 300.0))  # of one event, at fault itself

    def __post_init__(self) -> None:
        turn_seconds = self.gather_seconds + self.publish_seconds
        assert self.renew_seconds + turn_seconds < self.lease_seconds


class Relay:
    def __init__(
        self,
        database: Database,
        publisher: Publisher,
        clock: Clock,
        *,
        pace: RelayTimings | None = None,
        batch_size: int = BATCH_MAX,
        chance: Callable[[], float] = random.random,
    ) -> None:
        assert 1 <= batch_size <= BATCH_MAX
        self._database = database
        self._publisher = publisher
        self._clock = clock
        self._pace = pace or RelayTimings()
        self._batch_size = batch_size
        self._chance = chance
        self._lease = RelayLease(
            database, seconds=self._pace.lease_seconds, renew_seconds=self._pace.renew_seconds
        )
        self._measured_at = float("-inf")  # by the event loop's clock
        self._limit = batch_size  # shrinks while whole batches fail, to find the one at fault
        self._batches = BATCHES_READ  # shrinks while writes fail that mark so many
        self._settled_in_a_row = 0
        self._has_refused = False  # something waits that the bus refused
        self._settling: asyncio.Task[None] | None = None  # at most one write under way
        self._settling_ids: Sequence[EventId] = ()  # what it is about; not to be offered again
        self._idle_turns = 0
        self._bus_failures = 0  # turns in a row in which the bus took nothing
        self._outages = 0  # turns in a row that the database, or we ourselves, did not finish

    async def run(self, stop: asyncio.Event) -> None:
        """Returns after `stop` is set and the batch under way is published and marked."""
        try:
            while not stop.is_set():
                pause_seconds = await self._turn_or_backoff(stop)
                await _pause(stop, pause_seconds)
        finally:
            await self._release()

    async def _turn_or_backoff(self, stop: asyncio.Event) -> float:
        """One turn; the answer is how long to pause before the next."""
        try:
            pause_seconds = await self._turn(stop)
        except DatabaseUnavailable:
            gauges.FAILURES.labels(reason="database_unavailable").inc()
            _log.warning("relay_database_unavailable", attempts=self._outages + 1)
        except (
            Exception
        ) as error:  # a relay that ends would be noticed later than one that complains
            gauges.FAILURES.labels(reason="unexpected").inc()
            _log.error("relay_failed", attempts=self._outages + 1, exc_info=error)
        else:
            self._outages = 0
            return pause_seconds
        self._outages += 1
        return self._pace.outage.delay_seconds(self._outages, self._chance())

    async def _turn(self, stop: asyncio.Event) -> float:
        await self._measure_when_due()
        held = await self._lease.ensure()
        if held is None:
            return self._pace.standby_seconds
        count = self._batch_size * self._batches
        numbered = await self._number(count) if self._has_refused else 0
        async with self._database.reading() as session:
            due = await delivery.due(session, held, count, except_for=self._settling_ids)
            is_behind = len(due) < count and await delivery.some_follow(session, due)
        if is_behind:  # what waits for its turn at the bus need not wait to be listed
            numbered += await self._number(count)
        if due:
            self._idle_turns = 0
            pause_seconds = await self._publish_and_settle(held, due, stop)
            if len(due) < count or self._has_refused:  # else what is next is read meanwhile
                await self._settled()
            return pause_seconds
        if await self._settled() or numbered:
            self._idle_turns = 0
            return 0.0
        self._idle_turns += 1
        return self._pace.idle.bound_seconds(self._idle_turns)

    async def _number(self, count: int) -> int:
        return len(
            await self._database.run_in_transaction(lambda session: store.number(session, count))
        )

    async def _publish_and_settle(
        self, held: Lease, due: Sequence[Due], stop: asyncio.Event
    ) -> float:
        """Batch after batch while the bus takes all of it quickly, then one write for all of them."""
        until = asyncio.get_running_loop().time() + self._pace.gather_seconds
        settled: list[tuple[Due, float | None]] = []
        waiting, pause_seconds, more = self._fewest_failures_first(due), 0.0, True
        while more:
            batch, waiting = waiting[: self._limit], waiting[self._limit :]
            outcomes = await self._publish(batch)
            settled += zip(batch, map(self._delay, batch, outcomes), strict=True)
            pause_seconds = self._pause_after(outcomes)
            took_all = all(isinstance(one, Accepted) for one in outcomes)
            self._has_refused = self._has_refused or not took_all
            in_time = asyncio.get_running_loop().time() < until
            more = bool(waiting) and took_all and in_time and not stop.is_set()
        await self._settled()
        self._settling_ids = [one.event.id for one, _ in settled]
        self._settling = asyncio.create_task(self._settle(held, settled))
        return pause_seconds

    def _fewest_failures_first(self, due: Sequence[Due]) -> Sequence[Due]:
        """While batches fail whole, whoever failed less goes first, until the one at fault is alone."""
        if self._limit == self._batch_size:
            return due
        return sorted(due, key=lambda one: one.attempts)

    async def _publish(self, batch: Sequence[Due]) -> Sequence[Outcome]:
        """One outcome for each, whatever the publisher does; shrinks the batches that fail whole."""
        reason = "publisher_error"
        try:
            async with asyncio.timeout(self._pace.publish_seconds):
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
        """Writes down what became of them, unless the lease no longer allows it."""
        try:
            written = await self._database.run_statement(
                lambda session: delivery.settle(session, held, settled)
            )
        except Exception:  # perhaps more than there was time for: the same again would fail again
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
        """After it nothing is being written down; True if something was."""
        settling, self._settling = self._settling, None
        if settling is None:
            return False
        try:
            await settling
        finally:
            self._settling_ids = ()
        return True

    def _delay(self, one: Due, outcome: Outcome) -> float | None:
        """How long the event, and with it its aggregate, waits now; None if the bus has it."""
        if isinstance(outcome, Accepted):
            return None
        gauges.FAILURES.labels(reason=outcome.reason).inc()
        attempts = one.attempts + 1
        if outcome.retryable:
            return self._pace.refusal.delay_seconds(attempts, self._chance())
        _log.error(
            "event_refused",
            event_id=one.event.id,
            event_type=one.event.type,
            attempts=attempts,
            reason=outcome.reason,
        )
        return self._pace.poison.delay_seconds(attempts, self._chance())

    def _pause_after(self, outcomes: Sequence[Outcome]) -> float:
        """None, unless the bus took nothing, though no event was at fault: then it is away."""
        retryable = [one for one in outcomes if isinstance(one, Refused) and one.retryable]
        if retryable:
            _log.warning("publish_refused", count=len(retryable), reason=retryable[0].reason)
        if len(retryable) < len(outcomes):
            self._bus_failures = 0
            return 0.0
        self._bus_failures += 1
        return self._pace.outage.delay_seconds(self._bus_failures, self._chance())

    async def _measure_when_due(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._measured_at < self._pace.measure_seconds:
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
        await self._lease.give_back()


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    if seconds <= 0:
        await asyncio.sleep(0)
        return
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass
