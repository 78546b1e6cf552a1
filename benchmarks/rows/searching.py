"""Searches: what is asked again and again, and what nobody asked before."""

import random
import time
from collections.abc import Mapping
from datetime import date, timedelta
from functools import partial
from typing import Any

import asyncpg
import httpx
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg

from app.search import store
from app.search.connections import DEFAULT_MINUTES, LONGEST_WAIT
from benchmarks import seeding
from benchmarks.arithmetic import Measured, at_least, at_most, middle, percentile
from benchmarks.load import Plan
from benchmarks.rows.base import (
    CLIENTS,
    PATIENCE_SECONDS,
    Bench,
    Line,
    Pair,
    compared,
    cpu_text,
    get,
    warnings,
)
from benchmarks.stage import Running, Stage

FLIGHTS = 20_000
SEARCHES_A_ROUND = 100
Question = tuple[str, str, date]


def questions(flights: int, count: int, *, seed: int = 11) -> list[Question]:
    """Markets and days, each once; most have no flight without a connection."""
    draw = random.Random(seed)
    stations = sorted({origin for origin, _ in seeding.markets()})
    days = seeding.days(flights)
    asked: dict[Question, None] = {}
    while len(asked) < count:
        origin, destination = draw.sample(stations, 2)
        day = seeding.first_day() + timedelta(days=draw.randrange(days))
        asked[(origin, destination, day)] = None
    return list(asked)


def search_requests(token: str, asked: list[Question]) -> list[Pair]:
    return [get(_path(one), token) for one in asked]


async def warm(bench: Bench) -> list[Line]:
    async with bench.servers.stage(partial(_filled, count=FLIGHTS)) as stage:
        api = await stage.api()
        token = api.token()
        hub, spoke = seeding.markets()[0]
        asked = (hub, spoke, seeding.first_day())
        body = await _answer(api, asked, token)
        stored = stage.folder / "offers.json"
        stored.write_bytes(body)
        bare = await stage.serve("bare-offers", "--bytes", str(stored))
        requests = bench.requests(search_requests(token, [asked]))
        rounds = await bench.compare(
            bench.arm(api, requests, stage.cpu(api)),
            bench.arm(bare, requests, lambda: {"app": stage.cpu(bare)()["app"]}),
        )
    offers = body.count(b'"expires_at"')
    note = f"{offers} offers in {len(body):,} bytes"
    return [compared("search, warm", rounds, at_least(0.5), against="the bare route", notes=[note])]


async def cold(bench: Bench) -> list[Line]:
    """One client, so that a search's time is compared with a statement's."""
    count = bench.scaled(SEARCHES_A_ROUND)
    async with bench.servers.stage(partial(_filled, count=FLIGHTS)) as stage:
        api = await stage.api()
        asked = questions(FLIGHTS, (bench.rounds + 1) * count * 2)
        half = len(asked) // 2
        async with stage.sql() as connection:
            base = _Statements(stage, connection, asked[half:], count)
            ours = Unasked(bench, api, stage, asked[:half], clients=1, count=count)
            rounds = await bench.compare(ours, base.measure)
    figure = rounds.ratio(lambda one: one.p50_ms)
    return [
        Line(
            "search, cold",
            figure,
            at_most(2.0),
            here=(
                f"p50 {middle(rounds.ours, lambda one: one.p50_ms):.2f} ms of the bare statement's "
                f"{middle(rounds.base, lambda one: one.p50_ms):.2f}; "
                f"p99 {middle(rounds.ours, lambda one: one.p99_ms):.1f} ms"
            ),
            cpu=cpu_text(rounds.ours, rounds.base),
            notes=[
                f"{count} markets and days a round, each asked once, by one client; times compared",
                *warnings(rounds.ours, "ours"),
            ],
        )
    ]


class Unasked:
    """An arm that asks each question once."""

    def __init__(
        self,
        bench: Bench,
        api: Running,
        stage: Stage,
        asked: list[Question],
        *,
        clients: int = CLIENTS,
        count: int | None = None,
    ) -> None:
        self._bench = bench
        self._api = api
        self._cpu = stage.cpu(api)
        self._requests = bench.requests(search_requests(api.token(), asked))
        self._clients = clients
        self._count = count
        self._used = 0

    async def __call__(self, seconds: float) -> Measured:
        plan = Plan(
            self._api.port,
            self._requests,
            self._clients,
            seconds=seconds if self._count is None else PATIENCE_SECONDS,
            count=self._count,
            offset=self._used,
        )
        measured, outcome = await self._bench.load(plan, self._cpu)
        self._used = outcome.used
        return measured


class _Statements:
    """The statement of a search by itself, prepared once, its rows read and thrown away."""

    def __init__(
        self, stage: Stage, connection: asyncpg.Connection, asked: list[Question], count: int
    ) -> None:
        self._stage = stage
        self._connection = connection
        self._asked = iter(asked)
        self._count = count
        compiled = store._PATHS.compile(dialect=PGDialect_asyncpg())  # type: ignore[no-untyped-call]
        self._sql = str(compiled)
        self._compiled = compiled

    async def measure(self, _seconds: float) -> Measured:
        statement = await self._connection.prepare(self._sql)
        read = partial(self._postgres)
        before, started = read(), time.perf_counter()
        took: list[float] = []
        for question in [next(self._asked) for _ in range(self._count)]:
            at = time.perf_counter()
            await statement.fetch(*self._values(question))
            took.append(time.perf_counter() - at)
        seconds = time.perf_counter() - started
        spent = {name: after - before[name] for name, after in read().items()}
        took.sort()
        return Measured(
            len(took),
            seconds,
            spent,
            1000 * percentile(took, 0.5),
            1000 * percentile(took, 0.99),
        )

    def _postgres(self) -> Mapping[str, float]:
        return {"postgres": self._stage.cpu()()["postgres"]}

    def _values(self, question: Question) -> list[Any]:
        origin, destination, day = question
        given = {
            "origin": origin,
            "destination": destination,
            "departure_date": day,
            "cabin": "economy",
            "default_minutes": DEFAULT_MINUTES,
            "longest_wait": LONGEST_WAIT,
            "connections_max": store.CONNECTIONS_MAX,
            "direct_max": store.DIRECT_MAX,
        }
        values = {**self._compiled.params, **given}
        return [values[name] for name in self._compiled.positiontup or ()]


def _path(question: Question) -> str:
    origin, destination, day = question
    return f"/v1/offers?origin={origin}&destination={destination}&departure_date={day}"


async def _answer(api: Running, question: Question, token: str) -> bytes:
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        answer = await client.get(
            f"http://127.0.0.1:{api.port}{_path(question)}",
            headers={"Authorization": f"Bearer {token}"},
        )
    answer.raise_for_status()
    return answer.content


async def _filled(connection: asyncpg.Connection, *, count: int) -> None:
    await seeding.seed_flights(connection, count)
