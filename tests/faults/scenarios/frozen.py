"""A process is frozen in the middle of its work, past every lease; another takes over; then it resumes.

After it resumes it changes nothing that it has lost to the other process.
"""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.builders.wire import booking_body, hold_body
from tests.faults.dumps import read_bus
from tests.faults.processes import ApiProcess
from tests.faults.proxy import Mode
from tests.faults.scenarios.audit import assert_sound, states_of
from tests.faults.scenarios.crowd import Crowd, each
from tests.faults.stack import Stack, running
from tests.faults.wire import Lost, Reply

TTL_SECONDS = 600
SEATS = 30
UNDER_WAY = 12
AWAKE_SECONDS = 2.0  # for the unfinished work of a resumed process
_FROZEN_ANSWER_SECONDS = 120.0
_TRIES = 5


async def play(folder: Path) -> str:
    async with running(folder, ttl_seconds=TTL_SECONDS) as stack:
        scene = _Scene(stack, Crowd(stack, "frozen"), *stack.apis)
        results = [await case(scene) for case in (_hold, _book, _rebuild, _relay)]
        await assert_sound(stack)
    return "Frozen past every lease and awake again: " + "; ".join(results)


@dataclass(frozen=True, slots=True)
class _Scene:
    stack: Stack
    crowd: Crowd
    sleeper: ApiProcess
    other: ApiProcess


async def _hold(scene: _Scene) -> str:
    """Frozen between the grant and its journal row, which arrives after the end of the epoch."""
    flight = await scene.crowd.put_flight(SEATS)
    warm = await scene.crowd.hold(flight, api=scene.sleeper)
    scene.sleeper.postgres_link.set_mode(Mode.STALL)
    asked = [asyncio.create_task(_ask_hold(scene, flight)) for _ in range(UNDER_WAY)]
    await _until_held(scene, flight, UNDER_WAY + 1)
    scene.sleeper.freeze()
    await _lose_redis(scene, flight)
    taken = await _fill(scene, flight)
    scene.sleeper.postgres_link.set_mode(Mode.PASS)  # and now they arrive
    await asyncio.sleep(AWAKE_SECONDS)
    scene.sleeper.thaw()
    replies = await asyncio.gather(*asked)
    granted = [r.json() or {} for r in (warm, *replies) if r is not None and r.status == 201]
    states = await states_of(scene.stack, (one["id"] for one in granted))
    assert all(states.get(one["id"]) == "HELD" for one in granted), states
    await assert_sound(scene.stack)
    return f"{UNDER_WAY} holds in the middle, {taken} seats then held by others, 0 of them twice"


async def _book(scene: _Scene) -> str:
    """Frozen inside the booking's transaction; the other process then books the same holds."""
    flight = await scene.crowd.put_flight(SEATS)
    replies = await each(range(UNDER_WAY), lambda _: scene.crowd.hold(flight, api=scene.sleeper))
    holds = [reply.json() or {} for reply in replies]
    async with scene.stack.watcher() as connection:
        await connection.execute("SET idle_in_transaction_session_timeout = 0")
        async with connection.transaction():
            await connection.execute(
                "SELECT 1 FROM inventory WHERE flight_id = $1 FOR UPDATE", flight
            )
            asked = [asyncio.create_task(_ask_booking(scene, one)) for one in holds]
            await _until_waiting(scene.stack)
            scene.sleeper.freeze()
    await _lose_redis(scene, flight)
    booked = await each(holds, lambda one: scene.crowd.book(one, api=scene.other))
    scene.sleeper.thaw()
    late = await asyncio.gather(*asked)
    await asyncio.sleep(AWAKE_SECONDS)
    for mine, his in zip(booked, late, strict=True):
        answers = [reply.status for reply in (mine, his) if reply is not None]
        assert answers.count(201) <= 1, (mine, his)
        assert mine.status in (201, 409), mine
    states = await states_of(scene.stack, (one["id"] for one in holds))
    assert set(states.values()) == {"CONFIRMED"}, states
    await assert_sound(scene.stack)
    return f"{UNDER_WAY} bookings in the middle, each made once"


async def _rebuild(scene: _Scene) -> str:
    """Frozen while it loads Redis; the next holder of the lease rebuilds, and the late one opens nothing."""
    flight = await scene.crowd.put_flight(SEATS)
    kept = await each(range(UNDER_WAY), lambda _: scene.crowd.hold(flight))
    for _ in range(_TRIES):
        scene.other.freeze()
        scene.sleeper.redis_link.delay_seconds = 0.05
        async with scene.stack.redis_watcher() as client:
            await client.flushall()
        await _until_mode(scene.stack, "rebuilding")
        scene.sleeper.freeze()
        scene.other.thaw()
        if await _mode(scene.stack) == "rebuilding":
            break
        scene.sleeper.thaw()  # it was too quick
        await scene.stack.until_ready(30.0)
    else:
        raise AssertionError("no rebuild was caught in the middle")
    began = time.monotonic()
    taken = await _fill(scene, flight)
    after = time.monotonic() - began
    scene.sleeper.redis_link.delay_seconds = 0.0
    scene.sleeper.thaw()
    await asyncio.sleep(AWAKE_SECONDS)
    refused = await scene.crowd.hold(flight, tenant="rival")
    assert refused.status == 409, refused
    states = await states_of(scene.stack, ((one.json() or {})["id"] for one in kept))
    assert set(states.values()) == {"HELD"}
    await assert_sound(scene.stack)
    return f"a rebuild in the middle, {taken} seats then held by others within {after:.0f} s"


async def _relay(scene: _Scene) -> str:
    """A relay frozen with a batch; the other one publishes it, and consumers still see the order."""
    flight = await scene.crowd.put_flight(9_999)
    over = asyncio.Event()

    async def book() -> None:
        while not over.is_set():
            held = await scene.crowd.hold(flight)
            await scene.crowd.book(held.json() or {})

    booking = [asyncio.create_task(book()) for _ in range(8)]
    sleeper = scene.stack.relays[0]
    for relay in scene.stack.relays * 2:
        sleeper = relay
        await asyncio.sleep(0.5)
        relay.freeze()
        if await _unpublished_for(scene.stack, 2.0):
            break  # it is the one that held the lease
        relay.thaw()
    else:
        raise AssertionError("no relay was caught in the middle")
    over.set()
    await asyncio.gather(*booking)
    await _until_published(scene.stack)
    sleeper.thaw()
    await asyncio.sleep(AWAKE_SECONDS)
    async with scene.stack.watcher() as connection:
        facts = await connection.fetch("SELECT event_id, aggregate_id, sequence FROM outbox")
    envelopes, _ = read_bus(scene.stack.bus)
    _assert_in_order(envelopes)
    missing = {row["event_id"] for row in facts} - {one["id"] for one in envelopes}
    assert not missing, missing
    return f"a relay with its batch, {len(facts)} facts delivered in order, 0 missing"


async def _ask_hold(scene: _Scene, flight: str) -> Reply | None:
    key = scene.crowd.new_key()
    return await _answer(scene, "/v1/holds", hold_body((flight, "Y")), key)


async def _ask_booking(scene: _Scene, held: dict[str, Any]) -> Reply | None:
    return await _answer(scene, "/v1/bookings", booking_body(held), scene.crowd.new_key())


async def _answer(scene: _Scene, path: str, body: dict[str, Any], key: str) -> Reply | None:
    """The answer of the frozen process, without a time limit."""
    try:
        return await scene.crowd.ask(
            "POST", path, body, key=key, api=scene.sleeper, seconds=_FROZEN_ANSWER_SECONDS
        )
    except Lost:
        return None


async def _until_held(scene: _Scene, flight: str, seats: int) -> None:
    async with asyncio.timeout(20):
        while True:
            path = f"/v1/flights/{flight}/availability"
            reply = await scene.crowd.until_answered("GET", path, tenant="ops", api=scene.other)
            (cabin,) = (reply.json() or {})["cabins"]
            if cabin["booking_classes"][0]["held"] >= seats:
                return
            await asyncio.sleep(0.05)


async def _lose_redis(scene: _Scene, flight: str) -> None:
    """Returns when the other process has opened a new epoch."""
    async with scene.stack.redis_watcher() as client:
        await client.flushall()
    reply = await scene.crowd.hold(flight, tenant="rival", api=scene.other)
    assert reply.status in (201, 409), reply


async def _fill(scene: _Scene, flight: str) -> int:
    """How many seats were open."""
    taken = 0
    while (await scene.crowd.hold(flight, tenant="rival", api=scene.other)).status == 201:
        taken += 1
    return taken


async def _until_waiting(stack: Stack) -> None:
    await _until(stack, "SELECT count(*) >= 3 FROM pg_locks WHERE NOT granted")


async def _until_mode(stack: Stack, mode: str) -> None:
    await _until(stack, f"SELECT mode = '{mode}' FROM redis_epoch", pause=0.002)


async def _until_published(stack: Stack) -> None:
    await _until(stack, "SELECT count(*) = 0 FROM outbox WHERE published_at IS NULL")


async def _until(stack: Stack, question: str, *, pause: float = 0.05) -> None:
    async with stack.watcher() as connection, asyncio.timeout(60):
        while True:
            if await connection.fetchval(question):
                return
            await asyncio.sleep(pause)


async def _mode(stack: Stack) -> str:
    async with stack.watcher() as connection:
        return str(await connection.fetchval("SELECT mode FROM redis_epoch"))


async def _unpublished_for(stack: Stack, seconds: float) -> bool:
    """Nothing is published for so long, while facts wait."""
    count = "SELECT count(*) FROM outbox WHERE published_at IS NOT NULL"
    async with stack.watcher() as connection:
        before = await connection.fetchval(count)
        await asyncio.sleep(seconds)
        waiting = await connection.fetchval(
            "SELECT count(*) FROM outbox WHERE published_at IS NULL"
        )
        return bool(waiting and await connection.fetchval(count) == before)


def _assert_in_order(envelopes: tuple[dict[str, Any], ...]) -> None:
    """First deliveries of one aggregate come in sequence; repeats may come at any time."""
    reached: dict[str, int] = {}
    for envelope in envelopes:
        name, sequence = envelope["aggregate"]["id"], envelope["sequence"]
        assert sequence <= reached.get(name, 0) + 1, envelope
        reached[name] = max(reached.get(name, 0), sequence)
