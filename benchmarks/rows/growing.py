"""How the cost of a hold and of a search grows with what there is, and what a second worker brings.

The small population and the large one are up at the same time, each with an API of its own, and are
measured in turn.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import asyncpg

from app.hold.redis.keys import EPOCH, Keys
from benchmarks import seeding
from benchmarks.arithmetic import Measured, Reach, Rounds, at_most, middle
from benchmarks.rows.base import CLIENTS, Bench, Line, cpu_text, warnings
from benchmarks.rows.holding import hold_requests
from benchmarks.rows.keeping import used_and_marks
from benchmarks.rows.searching import Unasked, questions
from benchmarks.stage import Running, Stage

LIVE_HOLDS = (1_000, 10_000, 100_000, 1_000_000)
FLIGHTS = (10_000, 100_000, 1_000_000)
FLIGHTS_OF_HOLDS = 10_000
QUESTIONS = 30_000
WORKERS_MAX = 2
MARKED_SECONDS_MAX = 300.0


async def live_holds(bench: Bench) -> list[Line]:
    small, *larger = (bench.scaled(count) for count in LIVE_HOLDS)
    series = {str(small): 1.0}
    lines: list[Line] = []
    for count in sorted({*larger} - {small}):
        bench.say(f"{count:,} live holds against {small:,}")
        prepared = [
            partial(_populated, flights=FLIGHTS_OF_HOLDS, holds=holds) for holds in (count, small)
        ]
        async with (
            bench.servers.stage(prepared[0]) as large,
            bench.servers.stage(prepared[1]) as base,
        ):
            rounds = await _holds_on(bench, [large, base], FLIGHTS_OF_HOLDS, FLIGHTS_OF_HOLDS)
        line = _cost(f"hold at {count:,} live holds", rounds, at_most(1.1), f"at {small:,}")
        series[str(count)] = line.figure.median
        lines.append(line)
    return _with_series(lines, series)


async def flights(bench: Bench) -> list[Line]:
    small, *larger = (max(4_000, bench.scaled(count)) for count in FLIGHTS)
    holds: list[Line] = []
    searches: list[Line] = []
    of_holds, of_searches = {str(small): 1.0}, {str(small): 1.0}
    for count in sorted({*larger} - {small}):
        bench.say(f"{count:,} flights against {small:,}")
        prepared = [partial(_populated, flights=number, holds=0) for number in (count, small)]
        async with (
            bench.servers.stage(prepared[0]) as large,
            bench.servers.stage(prepared[1]) as base,
        ):
            rounds = await _holds_on(bench, [large, base], count, small)
            found = await _searches_on(bench, [large, base], count, small)
        holds.append(_cost(f"hold at {count:,} flights", rounds, at_most(1.2), f"at {small:,}"))
        searches.append(
            _cost(f"cold search at {count:,} flights", found, at_most(1.2), f"at {small:,}")
        )
        of_holds[str(count)] = holds[-1].figure.median
        of_searches[str(count)] = searches[-1].figure.median
    return [*_with_series(holds, of_holds), *_with_series(searches, of_searches)]


async def both(bench: Bench) -> list[Line]:
    """Flights and live holds in their largest numbers, together: what they cost, and what they take."""
    flights_, holds = max(4_000, bench.scaled(FLIGHTS[-1])), bench.scaled(LIVE_HOLDS[-1])
    few_flights, few_holds = max(4_000, bench.scaled(FLIGHTS[0])), bench.scaled(LIVE_HOLDS[0])
    among = f"{holds:,} live holds, {flights_:,} flights"
    bench.say(f"{among}, against {few_holds:,} and {few_flights:,}")
    begun = time.perf_counter()
    async with (
        bench.servers.stage(partial(_populated, flights=flights_, holds=holds)) as large,
        bench.servers.stage(partial(_populated, flights=few_flights, holds=few_holds)) as base,
    ):
        seeded = time.perf_counter()
        apis = [await large.api(), await base.api()]
        opened = time.perf_counter()
        for stage in (large, base):
            await _all_marked(stage)
        took = await _taken(large)
        made = await _holds_on(bench, [large, base], flights_, few_flights, apis=apis)
        found = await _searches_on(bench, [large, base], flights_, few_flights, apis=apis)
    took.append(
        f"{seeded - begun:.0f} s to write the rows of both, {opened - seeded:.0f} s until both"
        " APIs had loaded them into Redis and were ready"
    )
    few = f"among {few_holds:,} and {few_flights:,}"
    hold = _cost(f"hold among {among}", made, at_most(1.2), few)
    return [
        replace(hold, notes=[*hold.notes, *took]),
        _cost(f"cold search among {among}", found, at_most(1.2), few),
    ]


async def workers(bench: Bench) -> list[Line]:
    """On the same machine as the servers and the load generator: what saturates is named."""
    prepared = partial(_populated, flights=1_000, holds=0)
    async with bench.servers.stage(prepared) as one, bench.servers.stage(prepared) as two:
        apis = [await two.api(workers=WORKERS_MAX), await one.api()]
        arms = [
            bench.arm(api, bench.requests(hold_requests(api.token(), 1_000)), stage.cpu(api))
            for api, stage in zip(apis, (two, one), strict=True)
        ]
        rounds = await bench.compare(arms[0], arms[1])
    figure = rounds.ratio(lambda measured: measured.rate)
    return [
        Line(
            "workers, 1 → 2",
            figure,
            None,
            here=(
                f"{middle(rounds.ours, lambda o: o.rate):,.0f}/s of one worker's "
                f"{middle(rounds.base, lambda o: o.rate):,.0f}"
            ),
            cpu=cpu_text(rounds.ours, rounds.base),
            notes=[
                f"cores in use with two: {_cores(rounds.ours)}",
                f"with one: {_cores(rounds.base)}",
                *warnings(rounds.ours, "two"),
            ],
            series={"1": 1.0, "2": figure.median},
        )
    ]


async def _all_marked(stage: Stage) -> None:
    """What follows a rebuild has passed."""
    async with stage.redis() as redis, asyncio.timeout(MARKED_SECONDS_MAX):
        while True:
            if await redis.exists(Keys(int(await redis.get(EPOCH) or 0)).all_granted):
                return
            await asyncio.sleep(0.5)


async def _taken(stage: Stage) -> list[str]:
    """Memory and disk, as the servers tell."""
    async with stage.redis() as redis:
        memory = await redis.info("memory")
    async with stage.sql() as connection:
        sizes = await connection.fetchrow(
            "SELECT pg_total_relation_size('hold_journal') AS journal,"
            " pg_total_relation_size('flights') + pg_total_relation_size('inventory') AS flights,"
            " pg_database_size(current_database()) AS whole"
        )
    used, marks = await used_and_marks(stage)
    whole, journal, of_flights = (sizes[name] / 2**30 for name in ("whole", "journal", "flights"))
    resident = memory["used_memory_rss"] / 2**30
    redis_ = (
        f"{used / 2**30:.2f} GiB used, {resident:.2f} resident, {marks / 2**20:.0f} MiB of it marks"
    )
    with_indexes = (
        f"{journal:.2f} the journal and {of_flights:.2f} flights and inventory, with indexes"
    )
    return [f"Redis: {redis_}", f"PostgreSQL: {whole:.2f} GiB, of that {with_indexes}"]


async def _holds_on(
    bench: Bench, stages: Sequence[Stage], *counts: int, apis: Sequence[Running] = ()
) -> Rounds:
    """The first of the stages against the second; on flights drawn from all that each has."""
    arms = []
    apis = apis or [await stage.api() for stage in stages]
    for stage, count, api in zip(stages, counts, apis, strict=True):
        requests = bench.requests(hold_requests(api.token(), count))
        arms.append(bench.arm(api, requests, stage.cpu(api)))
    return await bench.compare(arms[0], arms[1])


async def _searches_on(
    bench: Bench, stages: Sequence[Stage], *counts: int, apis: Sequence[Running] = ()
) -> Rounds:
    arms = []
    apis = apis or [await stage.api() for stage in stages]
    for stage, count, api in zip(stages, counts, apis, strict=True):
        asked = questions(count, bench.scaled(QUESTIONS))
        arms.append(Unasked(bench, api, stage, asked, clients=CLIENTS // 4))
    return await bench.compare(arms[0], arms[1])


def _cost(row: str, rounds: Rounds, reach: Reach, against: str) -> Line:
    """Time an operation, which is more where the rate is less."""
    figure = rounds.ratio(lambda one: one.seconds / one.operations if one.operations else 0.0)
    cpu = rounds.ratio(lambda one: one.cpu_ms)
    return Line(
        row,
        figure,
        reach,
        here=(
            f"{middle(rounds.ours, lambda o: o.rate):,.0f}/s, {against} "
            f"{middle(rounds.base, lambda o: o.rate):,.0f}; the CPU time of one is {cpu.median:.2f} ×"
        ),
        cpu=cpu_text(rounds.ours, rounds.base),
        notes=[*warnings(rounds.ours, "ours"), *warnings(rounds.base, against)],
    )


def _with_series(lines: Sequence[Line], series: dict[str, float]) -> list[Line]:
    """The last line carries the curve."""
    *first, last = lines
    return [*first, replace(last, series=series)]


def _cores(rounds: Sequence[Measured]) -> str:
    parts = {
        name: middle(rounds, lambda one, n=name: one.cpu[n] / one.seconds)  # type: ignore[misc]
        for name in rounds[0].cpu
    }
    parts["load generator"] = middle(rounds, lambda one: one.generator_busy)
    told = " + ".join(f"{name} {cores:.2f}" for name, cores in parts.items())
    return f"{sum(parts.values()):.2f} ({told})"


async def _populated(connection: asyncpg.Connection, *, flights: int, holds: int) -> None:
    await seeding.seed_flights(connection, flights)
    if holds:
        await seeding.seed_holds(connection, holds, flights)
