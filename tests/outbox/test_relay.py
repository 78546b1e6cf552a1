"""The relay against a real database and buses that misbehave: nothing lost, nothing turned around."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import text
from structlog.testing import capture_logs

from app.clock import utc_now
from app.dev.data_dir import free_port
from app.dev.postgres import Postgres
from app.errors import DatabaseUnavailable
from app.outbox import delivery
from app.outbox.lease_store import Lease
from app.outbox.model import Event, Fact
from app.outbox.publisher import Accepted, Outcome, Publisher, Refused
from app.outbox.relay import BATCHES_READ, Relay, RelayTimings
from app.outbox.retry import Backoff
from app.storage.database import Database, WriteSession
from tests.builders.buses import RecordingBus, accept_all, first_deliveries, refusing
from tests.builders.facts import a_fact, a_shared_fact, append, execute, rows
from tests.fixtures.servers import migrate

FAST = RelayTimings(
    lease_seconds=2.0,
    renew_seconds=0.2,
    publish_seconds=1.0,
    standby_seconds=0.01,
    measure_seconds=0.01,
    idle=Backoff(0.005, 0.01),
    outage=Backoff(0.005, 0.02),
    refusal=Backoff(0.005, 0.02),
    poison=Backoff(0.005, 0.02),
)
IMPATIENT = RelayTimings(
    lease_seconds=2.0,
    publish_seconds=0.05,
    renew_seconds=0.2,
    measure_seconds=0.01,
    outage=Backoff(0.005, 0.02),
    refusal=Backoff(0.005, 0.02),
    poison=Backoff(0.005, 0.02),
)


@asynccontextmanager
async def running(
    database: Database, bus: Publisher, *, timings: RelayTimings = FAST, batch_size: int = 100
) -> AsyncIterator[asyncio.Event]:
    """A relay at work; the event that is handed out stops it, as does leaving."""
    stop = asyncio.Event()
    relay = Relay(database, bus, utc_now, timings=timings, batch_size=batch_size)
    task = asyncio.create_task(relay.run(stop))
    try:
        yield stop
    finally:
        stop.set()
        async with asyncio.timeout(10):
            await task


def history(aggregates: int, length: int) -> list[Fact]:
    return [
        a_fact(f"bkg_{name}", sequence, seconds=sequence)
        for sequence in range(1, length + 1)
        for name in range(aggregates)
    ]


def whole(aggregates: int, length: int) -> dict[str, list[int]]:
    return {f"bkg_{name}": list(range(1, length + 1)) for name in range(aggregates)}


class TestDelivery:
    @pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
    async def test_everything_leaves_in_order_once(
        self, database: Database, batch_size: int
    ) -> None:
        await append(database, *history(4, 3))
        bus = RecordingBus()
        async with running(database, bus, batch_size=batch_size):
            await bus.until_delivered(12)
        assert first_deliveries(bus.delivered) == whole(4, 3)
        assert len(bus.delivered) == 12
        assert all(row["published_at"] is not None for row in await rows(database))

    async def test_facts_committed_while_it_runs_leave_too(self, database: Database) -> None:
        bus = RecordingBus()
        async with running(database, bus):
            await append(database, a_fact("bkg_a", 1))
            await bus.until_delivered(1)
            await append(database, a_fact("bkg_a", 2), a_shared_fact())
            await bus.until_delivered(3)
        assert first_deliveries(bus.delivered) == {"bkg_a": [1, 2], "flt_a": [1]}

    async def test_a_batch_is_bounded_and_has_one_event_of_an_aggregate(
        self, database: Database
    ) -> None:
        await append(database, *history(130, 2))
        bus = RecordingBus()
        async with running(database, bus):
            await bus.until_delivered(260)
        assert max(len(batch) for batch in bus.batches) == 100
        for batch in bus.batches:
            assert len({event.aggregate for event in batch}) == len(batch)

    async def test_what_is_being_marked_is_not_offered_again(self, database: Database) -> None:
        """More than is read at once: the next is read and published while marks are under way."""
        await append(database, *history(60, 2))
        bus = RecordingBus()
        async with running(database, bus, batch_size=2):
            await bus.until_delivered(120)
        assert first_deliveries(bus.delivered) == whole(60, 2)
        assert len(bus.delivered) == 120

    async def test_behind_a_slow_bus_each_batch_is_marked_before_the_next(
        self, database: Database
    ) -> None:
        """So that a crash repeats one batch; behind a quick one several are marked together."""
        await append(database, *history(6, 1))
        marked_before: list[int] = []

        async def judge(batch: Sequence[Event]) -> Sequence[Outcome]:
            marks = [row["published_at"] is not None for row in await rows(database)]
            marked_before.append(sum(marks))
            return [Accepted()] * len(batch)

        timings = replace(FAST, gather_seconds=0)
        async with running(database, RecordingBus(judge), timings=timings, batch_size=2):
            await until_published(database)
        assert marked_before == [0, 2, 4]


class TestFailures:
    async def test_a_refused_event_holds_back_its_aggregate_and_no_other(
        self, database: Database
    ) -> None:
        await append(database, *history(3, 3))
        bus = RecordingBus(refusing("bkg_1"))
        with capture_logs() as lines:
            async with running(database, bus):
                await bus.until_delivered(6)
                assert first_deliveries(bus.delivered) == {
                    "bkg_0": [1, 2, 3],
                    "bkg_2": [1, 2, 3],
                }
                await until_gauge("holdfast_outbox_refused", 1)
                await until_gauge("holdfast_outbox_backlog", 3)
                assert gauge("holdfast_outbox_lag_seconds") >= 0
                bus.judge = accept_all
                await bus.until_delivered(9)
                await until_gauge("holdfast_outbox_backlog", 0)
                assert gauge("holdfast_outbox_lag_seconds") == 0
        assert first_deliveries(bus.delivered) == whole(3, 3)
        [told, *_] = [line for line in lines if "event_id" in line]
        assert told["event_id"] == a_fact("bkg_1", 1).event_id
        assert told["reason"] == "too_odd"

    async def test_more_poison_than_a_batch_holds_does_not_stop_the_others(
        self, database: Database
    ) -> None:
        odd = [f"bkg_{name}" for name in range(12)]
        await append(database, *(a_fact(name) for name in odd), a_fact("bkg_good", seconds=9))
        bus = RecordingBus(refusing(*odd))
        slow_poison = RelayTimings(poison=Backoff(1000, 1000), measure_seconds=0.01)
        async with running(database, bus, batch_size=3, timings=slow_poison):
            await bus.until_delivered(1)
        assert first_deliveries(bus.delivered) == {"bkg_good": [1]}

    async def test_a_bus_that_fails_at_random_gets_everything_in_order(
        self, database: Database
    ) -> None:
        await append(database, *history(6, 4))
        chance = random.Random(20261210)

        async def judge(batch: Sequence[Event]) -> Sequence[Outcome]:
            if chance.random() < 0.2:
                raise ConnectionResetError
            if chance.random() < 0.1:
                await asyncio.sleep(1)  # past the deadline
            if chance.random() < 0.1:
                return [Accepted()]
            return [
                Accepted() if chance.random() < 0.6 else Refused(chance.random() < 0.8, "at_random")
                for _ in batch
            ]

        bus = RecordingBus(judge)
        async with running(database, bus, timings=IMPATIENT, batch_size=5):
            await bus.until_delivered(24)
            await until_published(database)
        assert first_deliveries(bus.delivered) == whole(6, 4)

    async def test_an_event_that_makes_the_adapter_fail_is_found_and_the_others_pass(
        self, database: Database
    ) -> None:
        await append(database, *history(20, 2))

        async def judge(batch: Sequence[Event]) -> Sequence[Outcome]:
            if any(event.aggregate.id == "bkg_7" for event in batch):
                raise ValueError("cannot encode")
            return [Accepted()] * len(batch)

        bus = RecordingBus(judge)
        async with running(database, bus, timings=replace(FAST, refusal=Backoff(0, 0))):
            await bus.until_delivered(38)
        assert "bkg_7" not in first_deliveries(bus.delivered)

    async def test_a_bus_too_slow_for_large_batches_gets_smaller_ones(
        self, database: Database
    ) -> None:
        await append(database, *history(40, 1))

        async def judge(batch: Sequence[Event]) -> Sequence[Outcome]:
            if len(batch) > 4:
                await asyncio.sleep(5)
            return [Accepted()] * len(batch)

        bus = RecordingBus(judge)
        all_due_again_at_once = replace(IMPATIENT, refusal=Backoff(0, 0))
        async with running(database, bus, timings=all_due_again_at_once):
            await bus.until_delivered(40)
        assert len(bus.delivered) == 40

    @pytest.mark.parametrize("case", ["refuses", "throws", "is late", "miscounts"])
    async def test_a_bus_that_is_away_is_waited_for(self, database: Database, case: str) -> None:
        await append(database, *history(5, 2))

        async def judge(batch: Sequence[Event]) -> Sequence[Outcome]:
            if case == "refuses":
                return [Refused(retryable=True, reason="throttled")] * len(batch)
            if case == "throws":
                raise ConnectionRefusedError
            if case == "is late":
                await asyncio.sleep(5)
            return [Accepted()] * (len(batch) + 1)

        bus = RecordingBus(judge)
        async with running(database, bus, timings=IMPATIENT):
            await bus.until(lambda: len(bus.batches) >= 6)
            assert not any(row["published_at"] for row in await rows(database))
            bus.delivered.clear()
            bus.judge = accept_all
            await bus.until_delivered(10)
        assert first_deliveries(bus.delivered) == whole(5, 2)

    async def test_while_the_bus_takes_nothing_facts_are_listed(self, database: Database) -> None:
        """Also those that come then, and those that wait behind another."""
        await append(database, *history(3, 2))
        bus = RecordingBus(refusing(retryable=True))
        async with running(database, bus):
            await bus.until(lambda: len(bus.batches) >= 2)
            await append(database, *(a_fact("bkg_late", sequence) for sequence in (1, 2, 3)))
            async with asyncio.timeout(10):
                while None in [row["position"] for row in await rows(database)]:  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
        assert bus.delivered == []
        listed = [row["sequence"] for row in await rows(database) if "late" in row["aggregate_id"]]
        assert listed == [1, 2, 3]

    async def test_a_database_that_is_away_is_waited_for(self, servers_folder: Path) -> None:
        server = Postgres(servers_folder / "outage", free_port())
        await server.start()
        await migrate(server.url)
        database, bus = Database(server.url), RecordingBus()
        try:
            with capture_logs() as lines:
                async with running(database, bus):
                    await append(database, a_fact("bkg_a", 1))
                    await bus.until_delivered(1)
                    await server.stop()
                    await until(
                        lambda: any(line["event"] == "relay_database_unavailable" for line in lines)
                    )
                    await server.start()
                    await append_when_possible(database, a_fact("bkg_a", 2))
                    await bus.until_delivered(2)
        finally:
            await database.close()
            await server.stop()


class TestSeveralRelays:
    async def test_one_publishes_and_the_next_takes_over_at_once(self, database: Database) -> None:
        await append(database, a_fact("bkg_a", 1))
        first, second = RecordingBus(), RecordingBus()
        async with running(database, first) as stop_first:
            await first.until_delivered(1)
            async with running(database, second):
                await append(database, a_fact("bkg_a", 2))
                await first.until_delivered(2)
                assert second.batches == []
                stop_first.set()
                await append(database, a_fact("bkg_a", 3))
                await second.until_delivered(1)
        assert first_deliveries(first.delivered) == {"bkg_a": [1, 2]}
        assert first_deliveries(second.delivered) == {"bkg_a": [3]}

    async def test_one_that_slept_past_its_lease_changes_nothing_when_it_wakes(
        self, database: Database
    ) -> None:
        """It wakes between publishing and marking, with what the other one still has to publish."""
        await append(database, *history(2, 3))
        awake = asyncio.Event()
        delivered: list[Event] = []

        async def sleep(batch: Sequence[Event]) -> Sequence[Outcome]:
            await awake.wait()
            return [Accepted()] * len(batch)

        frozen = RecordingBus(sleep, delivered)
        other = RecordingBus(refusing("bkg_0"), delivered)
        async with running(database, frozen, timings=RelayTimings()):
            await frozen.until(lambda: len(frozen.batches) == 1)
            await execute(database, "UPDATE relay_leases SET expires_at = clock_timestamp()")
            async with running(database, other):
                await other.until_delivered(3)
                await until_published(database, 3)
                with capture_logs() as lines:
                    awake.set()
                    await until(lambda: any(one["event"] == "relay_lease_lost" for one in lines))
                held_back = [row for row in await rows(database) if row["published_at"] is None]
                assert [row["aggregate_id"] for row in held_back] == ["bkg_0"] * 3
                other.judge = accept_all
                await until_published(database)
        assert first_deliveries(delivered) == whole(2, 3)


class TestStopping:
    async def test_the_batch_under_way_is_published_and_marked(self, database: Database) -> None:
        await append(database, *history(3, 2))
        go_on = asyncio.Event()

        async def slow(batch: Sequence[Event]) -> Sequence[Outcome]:
            await go_on.wait()
            return [Accepted()] * len(batch)

        bus = RecordingBus(slow)
        async with running(database, bus) as stop:
            await bus.until(lambda: len(bus.batches) == 1)
            stop.set()
            go_on.set()
        assert first_deliveries(bus.delivered) == whole(3, 1)
        marked = [row["sequence"] for row in await rows(database) if row["published_at"]]
        assert marked == [1, 1, 1]

    async def test_an_idle_relay_ends_at_once(self, database: Database) -> None:
        idle = RelayTimings(idle=Backoff(60, 60))
        async with running(database, RecordingBus(), timings=idle):
            await until_gauge("holdfast_relay_leased", 1)
        assert gauge("holdfast_relay_leased") == 0


def gauge(name: str) -> float:
    value = REGISTRY.get_sample_value(name)
    assert value is not None
    return value


async def until_gauge(name: str, value: float) -> None:
    await until(lambda: gauge(name) == value)


async def until_published(database: Database, count: int | None = None) -> None:
    """So many facts are marked, or all of them."""
    async with asyncio.timeout(10):
        while True:
            marks = [row["published_at"] is not None for row in await rows(database)]
            if sum(marks) >= (len(marks) if count is None else count):
                return
            await asyncio.sleep(0.005)


async def append_when_possible(database: Database, fact: Fact) -> None:
    """The pool's connections died with the server; each is found out by its first use."""
    async with asyncio.timeout(10):
        while True:
            try:
                return await append(database, fact)
            except DatabaseUnavailable:
                await asyncio.sleep(0.01)


async def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the condition is another task's doing
            await asyncio.sleep(0.005)


async def test_what_cannot_be_marked_in_time_is_marked_in_smaller_parts(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle = delivery.settle

    async def slow(session: WriteSession, held: Lease, outcomes: Sequence[object]) -> int:
        if len(outcomes) > 5:
            raise DatabaseUnavailable
        return await settle(session, held, outcomes)  # type: ignore[arg-type] # handed on

    monkeypatch.setattr(delivery, "settle", slow)
    await append(database, *history(40, 1))
    bus = RecordingBus()
    async with running(database, bus, batch_size=4):
        await bus.until_delivered(40)
        await until_marked(database)
    assert len(bus.delivered) < 4 * 40  # some leave again, and not for ever


async def test_a_last_mark_that_fails_does_not_keep_the_lease(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the others would stand by for as long as it lasts."""

    async def never(session: WriteSession, held: Lease, outcomes: Sequence[object]) -> int:
        raise RuntimeError("the statement is wrong")

    async def stop_at_the_end(batch: Sequence[Event]) -> Sequence[Outcome]:
        if len(bus.batches) == BATCHES_READ:  # there may be more: this mark is not waited for
            stop.set()
        return [Accepted()] * len(batch)

    monkeypatch.setattr(delivery, "settle", never)
    await append(database, *history(BATCHES_READ, 1))
    bus = RecordingBus(stop_at_the_end)
    patient = replace(FAST, lease_seconds=60.0, gather_seconds=10.0)
    with capture_logs() as logged:
        async with running(database, bus, timings=patient, batch_size=1) as stop:
            await bus.until_delivered(BATCHES_READ)
    assert "relay_final_mark_failed" in [line["event"] for line in logged]
    async with database.reading() as session:
        holders = await session.execute(text("SELECT holder FROM relay_leases"))
    assert list(holders.scalars()) == [None]


async def test_what_follows_is_listed_before_the_bus_has_what_comes_first(
    database: Database,
) -> None:
    gate = asyncio.Event()

    async def hang(batch: Sequence[Event]) -> Sequence[Outcome]:
        await gate.wait()
        return await accept_all(batch)

    await append(database, *history(1, 6))
    bus = RecordingBus(hang)
    async with running(database, bus):
        await bus.until(lambda: bool(bus.batches))
        listed = [row["position"] for row in await rows(database)]
        gate.set()
        await bus.until_delivered(6)
    assert sorted(listed) == list(range(listed[0], listed[0] + 6))
    assert first_deliveries(bus.delivered) == whole(1, 6)


async def until_marked(database: Database) -> None:
    async with asyncio.timeout(10):
        while any(row["published_at"] is None for row in await rows(database)):  # noqa: ASYNC110 - the row is what is awaited
            await asyncio.sleep(0.01)
