"""PostgreSQL, Redis, every API process and every relay are killed (-9) together under full load.

They are restarted, and nothing else is done. Everything acknowledged then exists, complete.
"""

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.builders.wire import booking_body, hold_body
from tests.faults.scenarios.audit import assert_sound, states_of
from tests.faults.scenarios.crowd import Crowd, each
from tests.faults.stack import Stack, running
from tests.faults.stores import Persistence
from tests.faults.wire import Lost

TTL_SECONDS = 900
CALLERS = 24
FLIGHTS = 20
SEATS = 9_999
READY_SECONDS = 60.0


@dataclass
class _Answers:
    """By key: what was answered with 201, and what was asked and never answered."""

    holds: dict[str, dict[str, Any]] = field(default_factory=dict)
    bookings: dict[str, dict[str, Any]] = field(default_factory=dict)
    orders: dict[str, dict[str, Any]] = field(default_factory=dict)  # booking key: the hold
    unknown_holds: dict[str, str] = field(default_factory=dict)  # key: flight
    unknown_bookings: set[str] = field(default_factory=set)


async def play(folder: Path, *, seconds: float, persistence: Persistence) -> str:
    async with running(folder, ttl_seconds=TTL_SECONDS, persistence=persistence) as stack:
        crowd = Crowd(stack, "crash")
        flights = await each(range(FLIGHTS), lambda _: crowd.put_flight(SEATS))
        answers, dead = _Answers(), asyncio.Event()
        callers = [
            asyncio.create_task(_call(crowd, flights[number % FLIGHTS], answers, dead))
            for number in range(CALLERS)
        ]
        await asyncio.sleep(seconds)
        dead.set()  # what is under way is cut off in the middle
        await _kill_all(stack)
        await asyncio.gather(*callers)
        began = time.monotonic()
        await _start_all(stack)
        unready = await stack.until_ready(READY_SECONDS)
        assert not unready, unready
        back_after = time.monotonic() - began
        await _assert_kept(crowd, answers)
        settled = await _settle(crowd, answers)
        await assert_sound(stack)
    return (
        f"PostgreSQL, Redis ({persistence.value}), 2 APIs and 2 relays killed together under load: "
        f"{len(answers.holds)} acknowledged holds and {len(answers.bookings)} acknowledged bookings there "
        f"afterwards; {settled} without an answer settled by asking again; ready "
        f"{back_after:.1f} s after the start; lost 0, half made 0"
    )


async def _call(crowd: Crowd, flight: str, answers: _Answers, dead: asyncio.Event) -> None:
    """Place holds and book two of three, until everything is killed."""
    while not dead.is_set():
        key = crowd.new_key()
        try:
            reply = await crowd.ask("POST", "/v1/holds", hold_body((flight, "Y")), key=key)
        except Lost:
            answers.unknown_holds[key] = flight
            continue
        if reply.status != 201:
            assert reply.status == 503, reply
            answers.unknown_holds[key] = flight
            continue
        held = answers.holds[key] = reply.json() or {}
        if len(answers.holds) % 3:
            await _book(crowd, held, answers)


async def _book(crowd: Crowd, held: dict[str, Any], answers: _Answers) -> None:
    key = crowd.new_key()
    answers.orders[key] = held
    try:
        reply = await crowd.ask("POST", "/v1/bookings", booking_body(held), key=key)
    except Lost:
        answers.unknown_bookings.add(key)
        return
    if reply.status == 201:
        answers.bookings[key] = reply.json() or {}
    else:
        assert reply.status == 503, reply
        answers.unknown_bookings.add(key)


async def _kill_all(stack: Stack) -> None:
    await asyncio.gather(
        stack.kill_postgres(),
        stack.redis.kill(),
        *(process.kill() for process in (*stack.apis, *stack.relays)),
    )


async def _start_all(stack: Stack) -> None:
    await asyncio.gather(stack.start_postgres(), stack.redis.start())
    await asyncio.gather(*(process.start() for process in (*stack.apis, *stack.relays)))


async def _assert_kept(crowd: Crowd, answers: _Answers) -> None:
    states = await states_of(crowd.stack, (one["id"] for one in answers.holds.values()))
    booked = {answers.orders[key]["id"] for key in answers.bookings}
    perhaps = {answers.orders[key]["id"] for key in answers.unknown_bookings}
    for one in answers.holds.values():
        state = states.get(one["id"])
        allowed = {"CONFIRMED"} if one["id"] in booked else {"HELD"}
        if one["id"] in perhaps:
            allowed = {"HELD", "CONFIRMED"}
        assert state in allowed, (one["id"], state)

    async def read(booking: dict[str, Any]) -> None:
        reply = await crowd.until_answered("GET", f"/v1/bookings/{booking['id']}")
        assert reply.status == 200, reply
        assert reply.json() == booking

    await each(answers.bookings.values(), read)


async def _settle(crowd: Crowd, answers: _Answers) -> int:
    """Repeat the unanswered requests with their keys, then book every remaining hold."""

    async def hold_again(key: str) -> dict[str, Any]:
        reply = await crowd.hold(answers.unknown_holds[key], key=key)
        assert reply.status == 201, reply
        return reply.json() or {}

    async def book_again(key: str) -> str:
        reply = await crowd.book(answers.orders[key], key=key)
        assert reply.status == 201, reply
        return str(answers.orders[key]["id"])

    async def book(held: dict[str, Any]) -> None:
        reply = await crowd.book(held)
        assert reply.status == 201, reply

    late = await each(answers.unknown_holds, hold_again)
    booked = set(await each(answers.unknown_bookings, book_again))
    booked |= {answers.orders[key]["id"] for key in answers.bookings}
    await each([one for one in (*answers.holds.values(), *late) if one["id"] not in booked], book)
    return len(late) + len(answers.unknown_bookings)
