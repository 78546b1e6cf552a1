"""Holds: what one costs, alone and together, on one flight, on a full one, and ten times too many."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import asyncpg

from benchmarks import seeding
from benchmarks.arithmetic import Arm, Measured, Rounds, at_least
from benchmarks.load import Outcome, Plan
from benchmarks.rows.base import CLIENTS, Bench, Line, Pair, compared, post
from benchmarks.stage import Running, Stage

FLIGHTS = 1_000
REQUESTS = 4_096  # prepared; then from the beginning again, with other keys
REFUSALS_A_ROUND = 10_000
STATISTICS_SECONDS = 11.0  # after which an idle connection has told the server what it did
SWEPT_SECONDS = 8.0  # by then every grant was looked at once more: no work of the refusals'
TIMES_TOO_MANY = 10
OVERLOAD_CONNECTIONS = 1_000


def hold_requests(
    token: str,
    flights: int,
    *,
    segments: int = 2,
    fixed: Sequence[int] = (),
    count: int = REQUESTS,
) -> list[Pair]:
    """For one adult on flights drawn by a fixed seed; `fixed` ones are on each."""
    draw = random.Random(7)
    requests: list[Pair] = []
    for _ in range(count):
        drawn = draw.sample(range(1, flights), segments - len(fixed)) if flights > 1 else []
        chosen = [*drawn, *fixed]
        body = {
            "segments": [
                {"flight_id": seeding.flight_id(one), "booking_class": "Y"} for one in chosen
            ],
            "passengers": {"ADT": 1, "CHD": 0, "INF": 0},
        }
        requests.append(post("/v1/holds", token, body))
    return requests


def with_flights(count: int) -> Callable[[asyncpg.Connection], Awaitable[None]]:
    """For `Servers.stage`; flight 0 is sold out."""

    async def prepare(connection: asyncpg.Connection) -> None:
        await seeding.seed_flights(connection, count)
        await seeding.sell_out(connection, 0)

    return prepare


async def hold(bench: Bench) -> list[Line]:
    async with bench.servers.stage(with_flights(FLIGHTS)) as stage:
        api = await stage.api()
        bare = await stage.serve("bare-hold")
        requests = bench.requests(hold_requests(api.token(), FLIGHTS))
        before = await _written(stage)
        rounds = await bench.compare(
            bench.arm(api, requests, stage.cpu(api)),
            bench.arm(bare, requests, partial(_only, stage, bare)),
        )
        written = await _written(stage)
        ceiling = await _ceiling(bench, stage, requests)
    holds = max(1, written[1])
    kept = (
        f"PostgreSQL: {(written[0] - before[0]) / holds:,.0f} bytes of WAL a hold, "
        f"{written[2] / holds:,.0f} of journal with its indexes"
    )
    return [
        compared("hold", rounds, at_least(0.5), against="the bare route", notes=[ceiling, kept])
    ]


async def unshared(bench: Bench) -> list[Line]:
    async with bench.servers.stage(with_flights(FLIGHTS)) as stage:
        together = await stage.api()
        alone = await stage.serve("unshared", ready="/readyz")
        arms = [
            bench.arm(
                one,
                bench.requests(hold_requests(one.token(), FLIGHTS)),
                stage.cpu(one),
            )
            for one in (alone, together)
        ]
        rounds = await bench.compare(*arms)
    return [compared("hold, unshared", rounds, None, against="hold")]


async def contention(bench: Bench) -> list[Line]:
    async with bench.servers.stage(with_flights(FLIGHTS)) as stage:
        api = await stage.api()
        token, cpu = api.token(), stage.cpu(api)
        one = bench.requests(hold_requests(token, 1, segments=1, fixed=(1,), count=1))
        spread = bench.requests(hold_requests(token, FLIGHTS, segments=1))
        rounds = await bench.compare(
            bench.arm(api, one, cpu, release=token), bench.arm(api, spread, cpu, release=token)
        )
    what = " holds and releases/s"
    return [
        compared("hold under contention", rounds, at_least(0.9), against="the spread", what=what)
    ]


async def sold_out(bench: Bench) -> list[Line]:
    async with bench.servers.stage(with_flights(FLIGHTS)) as stage:
        api = await stage.api()
        token, cpu = api.token(), stage.cpu(api)
        full = bench.requests(hold_requests(token, FLIGHTS, fixed=(0,)))
        free = bench.requests(hold_requests(token, FLIGHTS))
        count = bench.scaled(REFUSALS_A_ROUND)
        hold_and_rest = _then(bench.arm(api, free, cpu), SWEPT_SECONDS)
        rounds = await bench.compare(
            bench.arm(api, full, cpu, count=count, expected=409), hold_and_rest
        )
        touched = await _transactions_of_refusals(bench, stage, api, full, count)
    return [compared("sold out", rounds, at_least(1.3), against="hold", notes=[touched])]


async def overload(bench: Bench) -> list[Line]:
    """The peak at 64 clients, then ten times as many requests a second, whatever comes back."""
    peaks: list[Measured] = []
    loads: list[Measured] = []
    told: list[str] = []
    async with bench.servers.stage(with_flights(FLIGHTS)) as stage:
        api = await stage.api()
        cpu = stage.cpu(api)
        requests = bench.requests(hold_requests(api.token(), FLIGHTS))
        peak_arm = bench.arm(api, requests, cpu)
        await peak_arm(bench.seconds / 3)
        for _ in range(bench.rounds):
            peak = await peak_arm(bench.seconds)
            rate = TIMES_TOO_MANY * peak.rate
            loaded, outcome = await bench.load(
                Plan(
                    api.port, requests, OVERLOAD_CONNECTIONS, seconds=2 * bench.seconds, rate=rate
                ),
                cpu,
            )
            peaks.append(peak)
            loads.append(loaded)
            told.append(_flood(rate, outcome))
    rounds = Rounds(tuple(loads), tuple(peaks))
    return [compared("overload", rounds, at_least(0.7), against="the peak", notes=[told[-1]])]


def _flood(rate: float, outcome: Outcome) -> str:
    answered = sum(outcome.statuses.values())
    return (
        f"offered {rate:,.0f}/s, of which {outcome.unsent / (outcome.unsent + answered or 1):.0%} "
        f"found all {OVERLOAD_CONNECTIONS} connections waiting; refused "
        f"{answered - outcome.operations}, with Retry-After {outcome.told_when}, p99 "
        f"{outcome.refused_p99_ms:,.0f} ms"
    )


def _then(arm: Arm, rest: float) -> Arm:
    async def measure(seconds: float) -> Measured:
        measured = await arm(seconds)
        await asyncio.sleep(rest)
        return measured

    return measure


def _only(stage: Stage, one: Running) -> dict[str, float]:
    return {"app": stage.cpu(one)()["app"]}


async def _ceiling(bench: Bench, stage: Stage, requests: str) -> str:
    """What the load generator does against a server that does nothing."""
    trivial = await stage.serve("trivial")
    measured, _ = await bench.load(
        Plan(trivial.port, requests, CLIENTS, seconds=bench.seconds), partial(_only, stage, trivial)
    )
    await trivial.stop()
    return (
        f"the load generator's own ceiling, against a server that does nothing: "
        f"{measured.rate:,.0f}/s"
    )


async def _written(stage: Stage) -> tuple[int, int, int]:
    """Bytes of WAL so far; the journal's rows, and its bytes."""
    async with stage.sql() as connection:
        found = await connection.fetchrow(
            "SELECT pg_current_wal_insert_lsn() - '0/0' AS wal,"
            " (SELECT count(*) FROM hold_journal) AS rows,"
            " pg_total_relation_size('hold_journal') AS size"
        )
    return int(found["wal"]), found["rows"], found["size"]


async def _transactions_of_refusals(
    bench: Bench, stage: Stage, api: Running, requests: str, count: int
) -> str:
    """Whether Postgres was touched: its own count, less what happens in as long a time without load."""
    at = [await _transactions(stage)]
    for clients in (0, CLIENTS):
        if clients:
            plan = Plan(api.port, requests, clients, count=count)
            await bench.load(plan, stage.cpu(api))
        await asyncio.sleep(STATISTICS_SECONDS)
        at.append(await _transactions(stage))
    idle, loaded = at[1] - at[0], at[2] - at[1]
    return (
        f"Postgres: {max(0, loaded - idle) / count:.2f} statements a refusal "
        f"({loaded} transactions with {count} refusals, {idle} in as long a time without)"
    )


async def _transactions(stage: Stage) -> int:
    async with stage.sql() as connection:
        found: int = await connection.fetchval(
            "SELECT xact_commit + xact_rollback FROM pg_stat_database"
            " WHERE datname = current_database()"
        )
    return found
