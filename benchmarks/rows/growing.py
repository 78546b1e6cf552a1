"""How the cost of a hold and of a search grows with what there is, and what a second worker brings.

The small population and the large one are up at the same time, each with an API of its own, and are
measured in turn.
"""

from collections.abc import Sequence
from functools import partial

import asyncpg

from benchmarks import seeding
from benchmarks.arithmetic import Measured, Reach, Rounds, at_most, middle
from benchmarks.rows.base import CLIENTS, Bench, Line, cpu_text, warnings
from benchmarks.rows.holding import hold_requests
from benchmarks.rows.searching import Unasked, questions
from benchmarks.stage import Stage

LIVE_HOLDS = (1_000, 10_000, 100_000, 1_000_000)
FLIGHTS = (10_000, 100_000, 1_000_000)
FLIGHTS_OF_HOLDS = 10_000
QUESTIONS = 30_000
WORKERS_MAX = 2


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
            rounds = await _holds_on(bench, [large, base], FLIGHTS_OF_HOLDS)
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


async def _holds_on(bench: Bench, stages: Sequence[Stage], *counts: int) -> Rounds:
    """The first of the stages against the second; on flights drawn from all that each has."""
    arms = []
    for stage, count in zip(stages, (*counts, *counts), strict=False):
        api = await stage.api()
        requests = bench.requests(hold_requests(api.token(), count))
        arms.append(bench.arm(api, requests, stage.cpu(api)))
    return await bench.compare(arms[0], arms[1])


async def _searches_on(bench: Bench, stages: Sequence[Stage], *counts: int) -> Rounds:
    arms = []
    for stage, count in zip(stages, counts, strict=True):
        api = await stage.api()
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
    curve = Line(
        last.row, last.figure, last.reach, last.unit, last.here, last.cpu, last.notes, series
    )
    return [*first, curve]


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
