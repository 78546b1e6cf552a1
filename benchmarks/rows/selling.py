"""Bookings of holds that are ready, against what PostgreSQL does with the same statements alone."""

from collections.abc import Mapping
from functools import partial

import asyncpg

from benchmarks import pgbench, seeding
from benchmarks.arithmetic import Arm, Measured, at_least
from benchmarks.load import Plan
from benchmarks.rows.base import CLIENTS, Bench, Line, Pair, compared, post
from benchmarks.stage import Running, Stage

FLIGHTS = 1_000
HOLDS = 24_000
FIRST_GUESS = 40  # transactions of each pgbench client, to learn how many fill a round


def booking_requests(token: str, numbers: range) -> list[Pair]:
    """Of seeded holds; each can be sent once."""
    price = seeding.a_hold().price.total
    return [
        post(
            "/v1/bookings",
            token,
            {
                "hold_id": seeding.hold_id_of(number),
                "passengers": [
                    {
                        "type": "ADT",
                        "given_name": "Ana",
                        "family_name": "Perez",
                        "born_on": "1990-04-02",
                    }
                ],
                "contact": {"email": "ana@example.com", "phone": "+56912345678"},
                "payment": {
                    "reference": "pay-8c1f",
                    "amount": price.amount,
                    "currency": price.currency,
                },
            },
        )
        for number in numbers
    ]


class Once:
    """An arm whose requests can be sent once: each round goes on where the last one ended, and has
    its share of them at most.
    """

    def __init__(self, bench: Bench, api: Running, stage: Stage, numbers: range) -> None:
        self._bench = bench
        self._api = api
        self._cpu = stage.cpu(api)
        self._requests = bench.requests(booking_requests(api.token(), numbers))
        self._used = 0
        self._share = share(len(numbers), bench)

    async def __call__(self, seconds: float) -> Measured:
        plan = Plan(
            self._api.port,
            self._requests,
            CLIENTS,
            seconds=seconds,
            count=self._share,
            offset=self._used,
        )
        measured, outcome = await self._bench.load(plan, self._cpu)
        self._used = outcome.used
        return measured


def share(holds: int, bench: Bench) -> int:
    """Of one round; the warm-up is one more."""
    return holds // (bench.rounds + 1)


async def booking(bench: Bench) -> list[Line]:
    holds = bench.scaled(HOLDS)
    async with (
        bench.servers.stage(partial(ready, holds=holds, flights=FLIGHTS)) as stage,
        bench.servers.stage(partial(ready, holds=holds, flights=FLIGHTS)) as alone,
    ):
        api = await stage.api()
        base = await _pgbench_arm(bench, alone, holds)
        ours = Once(bench, api, stage, range(holds))
        rounds = await bench.compare(ours, base)
    return [
        compared(
            "booking",
            rounds,
            at_least(0.5),
            against="pgbench",
            notes=[f"pgbench with {pgbench.CLIENTS} clients, one transaction a booking"],
        )
    ]


async def booking_one_flight(bench: Bench) -> list[Line]:
    """Holds of one pair of flights, against holds that are spread over a thousand."""
    holds = bench.scaled(HOLDS) // 2
    async with (
        bench.servers.stage(partial(ready, holds=min(holds, 9_000), flights=2)) as one,
        bench.servers.stage(partial(ready, holds=holds, flights=FLIGHTS)) as spread,
    ):
        apis = [await stage.api() for stage in (one, spread)]
        rounds = await bench.compare(
            Once(bench, apis[0], one, range(min(holds, 9_000))),
            Once(bench, apis[1], spread, range(holds)),
        )
    note = "every booking is of the same two flights"
    return [
        compared("booking, one flight", rounds, at_least(0.7), against="the spread", notes=[note])
    ]


async def ready(connection: asyncpg.Connection, *, holds: int, flights: int) -> None:
    await seeding.seed_flights(connection, max(flights, FLIGHTS))
    await seeding.seed_holds(connection, holds, flights)


async def _pgbench_arm(bench: Bench, stage: Stage, holds: int) -> Arm:
    async with stage.sql() as connection:
        await connection.execute("UPDATE redis_epoch SET mode = 'redis'")
        recorded = await pgbench.record(stage, holds - 1)
        await pgbench.prepare(connection, recorded, range(holds - 1))
    path = bench.folder / f"{stage.name}.sql"
    path.write_text(pgbench.script(recorded), encoding="utf-8")
    most = share(holds - 1, bench) // pgbench.CLIENTS
    per_client = min(FIRST_GUESS, most)

    async def measure(seconds: float) -> Measured:
        nonlocal per_client
        read = partial(_postgres_alone, stage)
        before = read()
        played = await pgbench.play(stage, path, per_client)
        cpu = {name: spent - before[name] for name, spent in read().items()}
        wanted = int(bench.seconds * played.transactions / played.seconds / pgbench.CLIENTS)
        per_client = max(1, min(wanted, most))
        return Measured(
            played.transactions, played.seconds, cpu, played.latency_ms, played.latency_ms
        )

    return measure


def _postgres_alone(stage: Stage) -> Mapping[str, float]:
    return {"postgres": stage.cpu()()["postgres"]}
