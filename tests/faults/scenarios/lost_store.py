"""Redis loses its data with very many live holds: none is lost, none of their seats is sold again."""

import asyncio
import time
from pathlib import Path
from typing import Any

from app.hold.model import MemoState
from app.hold.redis.life import Life
from app.ids import HoldId
from app.wiring import Core
from tests.faults.scenarios.audit import assert_sound, states_of
from tests.faults.scenarios.crowd import Crowd, code, each, parts
from tests.faults.scenarios.population import OPEN, Population, core_beside, ids, populate
from tests.faults.stack import Stack, running

TTL_SECONDS = 3600
READ_BATCH = 500


async def play(
    folder: Path, *, flights: int, holds: int, over_http: int, booked: int, restart: bool
) -> str:
    """`holds` in total, `over_http` of them placed over HTTP; `booked` of them are booked afterwards."""
    async with running(folder, ttl_seconds=TTL_SECONDS) as stack, core_beside(stack) as core:
        crowd = Crowd(stack, "lost")
        direct = await populate(core, flights, holds - over_http, reserved=over_http)
        asked = await each(range(over_http), lambda n: _hold(crowd, direct, n))
        probed = await crowd.put_flight(9)

        meanwhile = asyncio.create_task(_book_until_answered(crowd, asked[: over_http // 4]))
        began = time.monotonic()
        await (_restart_empty(stack) if restart else _flush(stack))
        gone = time.monotonic() - began
        first = gone + await crowd.until_held(probed)
        booked_meanwhile = await meanwhile

        every = [*(one["id"] for one in asked), *ids(direct.held)]
        await _assert_live(stack, core, set(every) - set(booked_meanwhile))
        filled = await each(direct.flights, lambda flight: _fill(crowd, flight))
        rest = [hold_id for hold_id in every if hold_id not in booked_meanwhile]
        chosen = rest[:: max(1, len(rest) // booked)][:booked]
        await each(chosen, lambda hold_id: _read_and_book(crowd, hold_id))
        await assert_sound(stack)
        states = await states_of(stack, every)
    confirmed = [hold_id for hold_id, state in states.items() if state == "CONFIRMED"]
    assert sorted(confirmed) == sorted([*chosen, *booked_meanwhile])
    assert sum(state == "HELD" for state in states.values()) == len(every) - len(confirmed)
    how = "restarted empty" if restart else "FLUSHALL"
    return (
        f"Redis {how} with {len(every)} live holds ({over_http} made over HTTP, the rest by the "
        f"scripts and the journal) on {flights} flights: first new hold after {first:.1f} s"
        f" ({gone:.1f} s of them without a server); {len(every)} holds read in both stores, "
        f"{sum(filled)} seats filled by others, {len(confirmed)} booked of which "
        f"{len(booked_meanwhile)} while it was loaded; lost 0, sold twice 0"
    )


async def _hold(crowd: Crowd, population: Population, number: int) -> dict[str, Any]:
    reply = await crowd.hold(population.flights[number % len(population.flights)])
    assert reply.status == 201, reply.body
    return reply.json() or {}


async def _book_until_answered(crowd: Crowd, held: list[dict[str, Any]]) -> list[str]:
    async def book(one: dict[str, Any]) -> str:
        reply = await crowd.book(one)
        assert reply.status == 201, reply.body
        return str(one["id"])

    return await each(held, book, concurrently=4)


async def _flush(stack: Stack) -> None:
    async with stack.redis_watcher() as client:
        await client.flushall()


async def _restart_empty(stack: Stack) -> None:
    await stack.redis.kill()
    stack.redis.forget()
    await stack.redis.start()


async def _assert_live(stack: Stack, core: Core, hold_ids: set[str]) -> None:
    """Check that each hold is live in both stores."""
    for some in parts(sorted(hold_ids), READ_BATCH):
        named = [HoldId(hold_id) for hold_id in some]

        async def read_memos(life: Life, named: list[HoldId] = named) -> set[MemoState]:
            return {one.state for one in (await life.holds.read_memos(named)).values()}

        assert await core.epochs.run(read_memos) == {MemoState.HELD}
        assert set((await states_of(stack, some)).values()) == {"HELD"}


async def _fill(crowd: Crowd, flight_id: str) -> int:
    """Hold all open seats; returns their number, after a check that none is left."""
    taken = await crowd.hold(flight_id, OPEN, tenant="rival")
    assert taken.status == 201, taken.body
    refused = await crowd.hold(flight_id, 1, tenant="rival")
    assert (refused.status, code(refused)) == (409, "sold_out"), refused
    return OPEN


async def _read_and_book(crowd: Crowd, hold_id: str) -> None:
    read = await crowd.until_answered("GET", f"/v1/holds/{hold_id}")
    held = read.json()
    assert read.status == 200, read.body
    assert held is not None
    assert held["status"] == "active"
    reply = await crowd.book(held)
    assert reply.status == 201, reply.body
