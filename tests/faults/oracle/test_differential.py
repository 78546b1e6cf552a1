"""The real application and the oracle give the same answers to the same requests.

Ids follow from idempotency keys, so that they are equal on both sides; times and record locators are not
compared.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from tests.builders.wire import booking_body, flight_body, hold_body, limit_body
from tests.faults.checker import Terms, check
from tests.faults.dumps import take
from tests.faults.history import OK, Operation
from tests.faults.oracle import asking
from tests.faults.oracle.asking import Ask, Asking, Json, Oracle
from tests.fixtures.api import StartApi, StartRelay, environment
from tests.fixtures.servers import migrate

FLIGHTS: Final = ("flt_one", "flt_two")
CLASSES: Final = (("Y", 6, "129900"), ("M", 4, "89900"), ("K", 2, "59900"))
STEPS: Final = 60
_NOT_COMPARED: Final = frozenset(
    {
        "as_of",
        "detail",
        "cancelled_at",
        "created_at",
        "expires_at",
        "expires_in_seconds",
        "next_release_at",
        "price_guaranteed_until",
        "record_locator",
        "request_id",
    }
)
Both = tuple[Asking, Asking]
StartBoth = Callable[..., Awaitable[Both]]


@pytest.fixture
async def start_both(
    start_api: StartApi,
    start_relay: StartRelay,
    blank_database: str,
    empty_redis: str,
    tmp_path: Path,
) -> AsyncIterator[StartBoth]:
    """The real application and the oracle, with the same flights on sale."""
    async with AsyncExitStack() as running:

        async def start(*, ttl_seconds: int = 600) -> Both:
            await migrate(blank_database)
            oracle = Oracle(
                environment(
                    tmp_path / "oracle",
                    blank_database,
                    empty_redis,
                    HOLD_TTL_SECONDS=str(ttl_seconds),
                )
            )
            running.push_async_callback(oracle.stop)
            real, _ = await asyncio.gather(start_api(ttl_seconds=ttl_seconds), oracle.start())
            await asyncio.gather(start_relay(real), start_relay(oracle))
            for api in (real, oracle):
                for flight_id in FLIGHTS:
                    put = await api.ops.put(
                        f"/v1/flights/{flight_id}", json=flight_body(classes=CLASSES)
                    )
                    assert put.status_code == 201, put.text
            return Asking(real), Asking(oracle)

        yield start


@pytest.mark.parametrize("seed", [1, 2])
async def test_the_same_script_is_answered_the_same(start_both: StartBoth, seed: int) -> None:
    both = await start_both()
    chance = Random(seed)
    holds: list[Json] = []
    bookings: list[str] = []
    sent: list[Ask] = []
    for number in range(STEPS):
        ask = _next(chance, number, holds, bookings, sent)
        sent.append(ask)
        operation = await _ask_both(both, ask)
        if operation.outcome == OK and operation.kind == "hold":
            holds.append(operation.answer or {})
        if operation.outcome == OK and operation.kind == "book":
            bookings.append((operation.answer or {})["id"])
        if operation.kind in ("book", "cancel", "patch", "release"):
            await _until_same_seats(both)
    await _judge(both)


async def test_time_runs_out_the_same(start_both: StartBoth) -> None:
    both = await start_both(ttl_seconds=1)
    whole = hold_body(("flt_one", "Y"), adults=6)
    held = (await _ask_both(both, asking.hold(whole, "first"))).answer or {}
    await _ask_both(both, asking.hold(whole, "second"))
    for one in both:
        await _until_expired(one, held["id"])
    for ask in (
        asking.book(booking_body(held), "late"),
        asking.extend(held["id"], "late"),
        asking.get_hold(held["id"]),
        asking.release(held["id"]),
        asking.hold(whole, "first"),
        asking.hold(whole, "second"),
    ):
        await _ask_both(both, ask)


async def test_both_are_correct_with_concurrent_clients(start_both: StartBoth) -> None:
    both = await start_both()

    async def client(one: Asking, number: int) -> None:
        chance = Random(number)
        for step in range(8):
            flight_id, letter = chance.choice(FLIGHTS), chance.choice("YMK")
            body = hold_body((flight_id, letter), adults=1 + chance.randrange(2))
            held = await one.ask(asking.hold(body, f"h{number}-{step}"), f"c{number}")
            if held.outcome != OK:
                continue
            hold = held.answer or {}
            if chance.random() < 0.4:
                await one.ask(asking.release(hold["id"]), f"c{number}")
                continue
            deliveries = [asking.book(booking_body(hold), f"b{number}-{step}")] * 2
            first, _ = await asyncio.gather(*(one.ask(ask, f"c{number}") for ask in deliveries))
            if first.outcome == OK and chance.random() < 0.7:
                await one.ask(asking.cancel((first.answer or {})["id"]), f"c{number}")

    for one in both:
        await asyncio.gather(*(client(one, number) for number in range(12)))
    await _judge(both)


async def _ask_both(both: Both, ask: Ask) -> Operation:
    """The real one's answer, which is the oracle's too."""
    real, oracle = await asyncio.gather(*(one.ask(ask) for one in both))
    assert _compared(real) == _compared(oracle), f"{real.summary()}\n{oracle.summary()}"
    return real


def _compared(operation: Operation) -> tuple[Any, ...]:
    replayed = operation.headers.get("idempotent-replayed")
    location = operation.headers.get("location")
    return operation.status, replayed, location, _without_times(operation.answer)


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {name: one for name, one in value.items() if name not in _NOT_COMPARED}
        return {name: _without_times(one) for name, one in kept.items()}
    if isinstance(value, list):
        return [_without_times(one) for one in value]
    return value


async def _until_same_seats(both: Both) -> None:
    """A sale reaches the hold store right after its answer."""
    async with asyncio.timeout(10):
        for flight_id in FLIGHTS:
            while True:
                ask = asking.availability(flight_id)
                real, oracle = await asyncio.gather(*(one.ask(ask) for one in both))
                if _compared(real) == _compared(oracle):
                    break
                await asyncio.sleep(0.02)


async def _until_expired(one: Asking, hold_id: str) -> None:
    async with asyncio.timeout(10):
        while True:
            seen = await one.ask(asking.get_hold(hold_id))
            if (seen.answer or {}).get("status") == "expired":
                return
            await asyncio.sleep(0.05)


async def _judge(both: Both) -> None:
    await _until_same_seats_of_itself(both[0])
    for one, redis_url in zip(both, (both[0].api.environment["REDIS_URL"], None), strict=True):
        await one.at_rest()
        dumps = await take(one.api.database_url, redis_url, one.api.folder / "relay.log")
        flights = {
            flight_id: {"economy": [(letter, limit) for letter, limit, _ in CLASSES]}
            for flight_id in FLIGHTS
        }
        found = check(one.history, dumps, Terms(flights))
        assert [str(violation) for violation in found] == []


async def _until_same_seats_of_itself(real: Asking) -> None:
    """What Redis counts as sold is what Postgres does, and nothing is between the two."""
    async with asyncio.timeout(10):
        for flight_id in FLIGHTS:
            while True:
                seen = await real.ask(asking.availability(flight_id))
                (cabin,) = (seen.answer or {})["cabins"]
                sold = [one["sold"] for one in cabin["booking_classes"]]
                rows = await real.api.rows(
                    "SELECT sold FROM inventory WHERE flight_id = :flight_id", flight_id=flight_id
                )
                if rows == [(sold,)]:
                    break
                await asyncio.sleep(0.02)


def _next(
    chance: Random, number: int, holds: list[Json], bookings: list[str], sent: list[Ask]
) -> Ask:
    """The next request of a client, sometimes an invalid one."""
    held = chance.choice(holds) if holds else None
    kind = chance.choice(
        ["hold"] * 6
        + ["book"] * 4
        + ["again"] * 3
        + ["extend", "release", "cancel", "look", "patch"]
    )
    match kind:
        case "book" if held is not None:
            return asking.book(booking_body(held), f"k{number}")
        case "again" if sent:
            return chance.choice(sent)
        case "extend" if held is not None:
            return asking.extend(held["id"], f"k{number}")
        case "release" if held is not None:
            return asking.release(held["id"])
        case "cancel" if bookings:
            return asking.cancel(chance.choice(bookings), f"k{number}")
        case "look" if held is not None:
            tenant = chance.choice(["demo", "demo", "rival"])
            return asking.get_hold(held["id"], tenant)
        case "patch":
            return asking.patch(chance.choice(FLIGHTS), limit_body("M", chance.choice([3, 4, 5])))
    choices = [
        (flight, chance.choice("YMKZ" if chance.random() < 0.1 else "YMK")) for flight in FLIGHTS
    ]
    chance.shuffle(choices)
    body = hold_body(*choices[: chance.choice([1, 1, 2])], adults=1 + chance.randrange(2))
    key = chance.choice([f"k{number}"] * 9 + [f"k{number // 2}"])
    return asking.hold(body, key)
