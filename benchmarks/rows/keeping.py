"""What is kept in memory, and how long it takes to have it again."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

import asyncpg
import httpx

from app.hold.redis.keys import EPOCH, Keys
from benchmarks import seeding
from benchmarks.arithmetic import Ratio, at_most
from benchmarks.load import Plan
from benchmarks.rows.base import CLIENTS, Bench, Line, Pair, nothing_spent
from benchmarks.rows.holding import hold_requests
from benchmarks.stage import Running, Stage

HOLDS = 20_000
RELEASED = 4_000
FLIGHTS = 20_000
OPEN_REQUESTS = 1_000
LIVE = 100_000
FEW_FLIGHTS = 18_000
MANY_FLIGHTS = 1_000_000
LOOK_SECONDS = 0.02
LOST_SECONDS_MAX = 300.0
DAY_SECONDS = 24 * 3600


async def memory(bench: Bench) -> list[Line]:
    holds, flights = bench.scaled(HOLDS), bench.scaled(FLIGHTS)
    released = min(holds // 2, bench.scaled(RELEASED))
    async with bench.servers.stage(partial(_with_flights, count=1)) as stage:
        api = await stage.api()
        empty = await _at_rest(stage)
        per_thousand = await _open_requests(api, OPEN_REQUESTS)
    async with bench.servers.stage(partial(_with_flights, count=flights)) as stage:
        api = await stage.api()
        with_flights = await _at_rest(stage)
    async with bench.servers.stage(partial(_with_flights, count=flights, holds=holds)) as stage:
        api = await stage.api()
        with_holds = await _at_rest(stage)
        requests = bench.requests([_release(api.token(), n) for n in range(2 * released)])
        some, all_ = [
            await _after_releases(bench, stage, api, requests, first, released)
            for first in (0, released)
        ]
        server = await _server(stage)
        _, marks = await used_and_marks(stage)
    a_hold = (with_holds - with_flights) / holds
    figures = (
        ("Redis, a live hold", a_hold, 700.0, f"{holds:,} holds of two segments"),
        (
            "Redis, a tombstone",
            a_hold + (all_ - some) / released,
            350.0,
            f"{released:,} of them released",
        ),
        ("Redis, a flight", (with_flights - empty) / flights, 1024.0, f"{flights:,} flights"),
    )
    lines = [
        Line(name, Ratio.of([value]), at_most(most, "B"), "B", notes=[f"{told}; {server}"])
        for name, value, most, told in figures
    ]
    note = f"{OPEN_REQUESTS:,} requests of which half of the body has come; resident memory"
    mebibytes = per_thousand / 2**20
    day = "for any number of keys; at most three days' are kept"
    return [
        *lines,
        Line("Redis, a day's marks", Ratio.of([marks / 2**20]), None, "MiB", notes=[day]),
        Line("app, 1,000 open requests", Ratio.of([mebibytes]), None, "MiB", notes=[note]),
    ]


async def _after_releases(
    bench: Bench, stage: Stage, api: Running, requests: str, first: int, count: int
) -> int:
    """The first releases bring scripts and connections with them, so it is the second that count."""
    plan = Plan(api.port, requests, CLIENTS, seconds=120, offset=first, count=count)
    await bench.load(plan, nothing_spent)
    return await _at_rest(stage)


async def recovery(bench: Bench) -> list[Line]:
    lines: list[Line] = []
    live = bench.scaled(LIVE)
    for flights, rounds in ((FEW_FLIGHTS, bench.rounds), (MANY_FLIGHTS, max(1, bench.rounds // 2))):
        count = max(2_000, bench.scaled(flights))
        bench.say(f"{live:,} live holds on {count:,} flights")
        prepare = partial(_with_flights, count=count, holds=live)
        async with bench.servers.stage(prepare) as stage:
            api = await stage.api()
            await asyncio.sleep(2.0)  # what follows a start has passed
            took = [await _emptied(bench, stage, api) for _ in range(rounds)]
        lines.append(
            Line(
                f"recovery at {count:,} flights",
                Ratio.of(took),
                at_most(5.0, "s") if flights == FEW_FLIGHTS else None,
                "s",
                notes=[f"from FLUSHALL to the first new hold, {live:,} live holds"],
                series={str(count): Ratio.of(took).median},
            )
        )
    return lines


async def _emptied(bench: Bench, stage: Stage, api: Running) -> float:
    """Seconds from the loss to the first hold that is accepted again."""
    before, after = hold_requests(api.token(), 1_000, count=1)[0]
    body = after.strip()
    headers = {"Authorization": f"Bearer {api.token()}", "Content-Type": "application/json"}
    assert before
    async with (
        stage.redis() as redis,
        httpx.AsyncClient(trust_env=False, timeout=10) as client,
        asyncio.timeout(LOST_SECONDS_MAX),
    ):
        await redis.flushall()
        started = time.perf_counter()
        while True:
            key = f"recovery-{next(bench.numbers)}-{time.time_ns()}"
            with suppress(httpx.TransportError):
                answer = await client.post(
                    f"http://127.0.0.1:{api.port}/v1/holds",
                    content=body,
                    headers={**headers, "Idempotency-Key": key},
                )
                if answer.status_code == 201:
                    return time.perf_counter() - started
            await asyncio.sleep(LOOK_SECONDS)


async def _open_requests(api: Running, count: int) -> float:
    """Bytes that the process grows by for so many requests whose body is still coming."""
    await asyncio.sleep(1.0)
    async with _half_sent(api, 10):  # what the first ones need for ever
        pass
    before = api.resident_bytes()
    async with _half_sent(api, count):
        await asyncio.sleep(1.0)
        return float(api.resident_bytes() - before)


@asynccontextmanager
async def _half_sent(api: Running, count: int) -> AsyncIterator[None]:
    before, after = hold_requests(api.token(), 1_000, count=1)[0]
    whole = f"{before}half-sent{after}".encode()
    writers: list[asyncio.StreamWriter] = []
    try:
        for _ in range(count):
            _, writer = await asyncio.open_connection("127.0.0.1", api.port)
            writer.write(whole[: -len(after) // 2])
            writers.append(writer)
        yield
    finally:
        for writer in writers:
            writer.close()


def _release(token: str, number: int) -> Pair:
    path = f"/v1/holds/{seeding.hold_id_of(number)}"
    return (
        f"DELETE {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n",
        "",
    )


async def _at_rest(stage: Stage) -> int:
    """When it has come to rest, as what is freed later is not counted as used; the marks apart."""
    last = -1
    while True:
        used, marks = await used_and_marks(stage)
        if abs(used - last) < 20_000:
            return used - marks
        last = used
        await asyncio.sleep(1.0)


async def used_and_marks(stage: Stage) -> tuple[int, int]:
    """All that Redis uses, and of that the marks of the keys granted today, however many."""
    async with stage.redis() as redis:
        names = Keys(int(await redis.get(EPOCH) or 0))
        marks = await redis.memory_usage(names.granted_on((await redis.time())[0] // DAY_SECONDS))
        return int((await redis.info("memory"))["used_memory"]), int(marks or 0)


async def _server(stage: Stage) -> str:
    async with stage.redis() as redis:
        server, memory_ = await redis.info("server"), await redis.info("memory")
    name = server.get("server_name", "redis")
    version = server.get("valkey_version", server["redis_version"])
    return f"{name} {version}, {memory_['mem_allocator']}"


async def _with_flights(connection: asyncpg.Connection, *, count: int, holds: int = 0) -> None:
    await seeding.seed_flights(connection, count)
    if holds:
        await seeding.seed_holds(connection, holds, count)
