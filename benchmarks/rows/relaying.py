"""Facts on their way out: how fast a backlog drains, and how old a fact is when it gets there."""

import asyncio
import json
import signal
import time

import asyncpg

from app.outbox.relay import BATCH_MAX, RelayTimings
from benchmarks import seeding
from benchmarks.arithmetic import Measured, Ratio, at_least, at_most, percentile
from benchmarks.load import Plan
from benchmarks.rows.base import CLIENTS, Bench, Line, compared
from benchmarks.rows.selling import FLIGHTS, booking_requests, ready
from benchmarks.stage import Running, Stage, computed_seconds

ROWS = 100_000
LOOK_SECONDS = 0.02
LAG_SECONDS = 12.0
LAG_HOLDS = 20_000
# By the two indexes that know: whoever looks shall not be most of the work.
_LEFT = """
    SELECT EXISTS (SELECT 1 FROM outbox WHERE position IS NULL)
        OR EXISTS (SELECT 1 FROM outbox WHERE position IS NOT NULL AND published_at IS NULL)
"""
_LEASED = "SELECT holder FROM relay_leases WHERE shard = 0"


async def drain(bench: Bench) -> list[Line]:
    """All of them anew each round: of a short one, half would be the wait for the next poll."""
    slice_ = bench.scaled(ROWS)
    async with bench.servers.stage() as stage, bench.servers.stage() as bare:
        relay = await stage.relay()
        rounds = await bench.compare(_Drained(stage, relay, slice_), _Deleted(bare, slice_))
    return [
        compared(
            "relay",
            rounds,
            at_least(0.5),
            against="reading and deleting",
            what=" rows/s",
            notes=[
                f"{slice_:,} rows a round, in batches of {BATCH_MAX}; the baseline numbers nothing"
            ],
        )
    ]


class _Drained:
    def __init__(self, stage: Stage, relay: Running, count: int) -> None:
        self._stage = stage
        self._relay = relay
        self._count = count
        self._slice = 0

    async def __call__(self, seconds: float) -> Measured:
        self._slice += 1
        read = self._stage.cpu(self._relay)
        async with self._stage.sql() as connection:
            transaction = connection.transaction()
            await transaction.start()
            await seeding.seed_facts(connection, self._count, f"slice-{self._slice}-")
            await connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            before = read()
            await transaction.commit()
            started = time.perf_counter()
            last = f"SELECT last_position >= {self._slice * self._count} FROM outbox_head"
            await _until(connection, last, is_true=True)
            await _until(connection, _LEFT, is_true=False)
            took = time.perf_counter() - started
            spent = {name: after - before[name] for name, after in read().items()}
            await connection.execute("VACUUM outbox")
        return Measured(self._count, took, spent)


class _Deleted:
    """The same rows, read in the same batches and deleted, one transaction a batch."""

    def __init__(self, stage: Stage, count: int) -> None:
        self._stage = stage
        self._count = count
        self._slice = 0

    async def __call__(self, seconds: float) -> Measured:
        self._slice += 1
        async with self._stage.sql() as connection:
            await seeding.seed_facts(connection, self._count, f"slice-{self._slice}-")
            await connection.execute(
                "UPDATE outbox SET position = numbered.n FROM (SELECT event_id, row_number()"
                " OVER (ORDER BY occurred_at) AS n FROM outbox) AS numbered"
                " WHERE outbox.event_id = numbered.event_id",
                timeout=120,
            )
            await connection.execute("VACUUM ANALYZE outbox")
            before, started = self._spent(), time.perf_counter()
            while await self._batch(connection):
                pass
            took = time.perf_counter() - started
            spent = {name: after - before[name] for name, after in self._spent().items()}
        return Measured(self._count, took, spent)

    async def _batch(self, connection: asyncpg.Connection) -> int:
        async with connection.transaction():
            rows = await connection.fetch(
                "SELECT * FROM outbox WHERE position IS NOT NULL AND published_at IS NULL"
                " ORDER BY position LIMIT $1",
                BATCH_MAX,
            )
            for row in rows:
                json.loads(row["data"])
            positions = [row["position"] for row in rows]
            await connection.execute("DELETE FROM outbox WHERE position = ANY($1)", positions)
        return len(rows)

    def _spent(self) -> dict[str, float]:
        postgres = self._stage.postgres.child
        assert postgres is not None
        return {"app": time.process_time(), "postgres": computed_seconds(postgres.process.pid)}


async def lag(bench: Bench) -> list[Line]:
    """At half the rate of bookings that the same stage reached a moment before."""
    holds = bench.scaled(LAG_HOLDS)
    async with bench.servers.stage(lambda c: ready(c, holds=holds, flights=FLIGHTS)) as stage:
        api = await stage.api()
        cpu = stage.cpu(api)
        requests = bench.requests(booking_requests(api.token(), range(holds)))
        lags = stage.folder / "lags.json"
        await bench.load(Plan(api.port, requests, CLIENTS, seconds=1.0, offset=0), cpu)
        top, outcome = await bench.load(
            Plan(api.port, requests, CLIENTS, seconds=bench.seconds, offset=holds // 20), cpu
        )
        async with stage.sql() as connection:
            await connection.execute("DELETE FROM outbox")
        relay = await stage.serve("relay", "--lags", str(lags), ready=None)
        async with stage.sql() as connection:
            await _until(connection, _LEASED, is_true=True)
        seconds = min(LAG_SECONDS, bench.rounds * bench.seconds)
        plan = Plan(
            api.port,
            requests,
            CLIENTS,
            seconds=seconds,
            rate=top.rate / 2,
            offset=outcome.used,
        )
        loaded, _ = await bench.load(plan, cpu)
        async with stage.sql() as connection:
            await _until(connection, _LEFT, is_true=False)
        assert relay.child is not None
        relay.child.process.send_signal(signal.SIGTERM)
        await relay.child.wait()
        found = sorted(json.loads(await asyncio.to_thread(lags.read_text)))
    interval = 1000 * RelayTimings().idle.bound_seconds(100)
    p99 = percentile(found, 0.99)
    figure = Ratio.of([p99 / interval])
    return [
        Line(
            "relay lag",
            figure,
            at_most(3.0),
            here=(
                f"p50 {percentile(found, 0.5):.0f}, p99 {p99:.0f}, at most {found[-1]:.0f} ms from a "
                f"booking's own time to the bus, {len(found):,} facts at {loaded.rate:,.0f}/s"
            ),
            notes=[
                f"the poll interval is {interval:.0f} ms at rest; half of {top.rate:,.0f} bookings/s"
            ],
        )
    ]


async def _until(connection: asyncpg.Connection, question: str, *, is_true: bool) -> None:
    while True:
        if bool(await connection.fetchval(question)) == is_true:
            return
        await asyncio.sleep(LOOK_SECONDS)
