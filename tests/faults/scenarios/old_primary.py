"""A replica takes over, while the old primary still serves half of the processes, which do not notice it.

The replica has a new epoch. No grant of the old primary is acknowledged.
"""

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.builders.wire import hold_body
from tests.faults.processes import ApiProcess
from tests.faults.scenarios.audit import assert_sound, states_of
from tests.faults.scenarios.crowd import Crowd, each
from tests.faults.stack import Stack, running
from tests.faults.stores import Persistence, Store
from tests.faults.wire import Lost

TTL_SECONDS = 600
SEATS = 1  # of each flight: both processes get requests for the same one
FLIGHTS_A_SECOND = 20
CALLERS = 8  # for each process
_SYNCED_SECONDS = 15.0


@dataclass
class _Answers:
    """Of one process."""

    granted: list[tuple[float, str]] = field(default_factory=list)  # when, hold
    not_now: int = 0
    sold_out: int = 0


async def play(folder: Path, *, seconds: float, flights: int) -> str:
    """Both processes are asked for the same seats, one flight after the other."""
    async with running(folder, ttl_seconds=TTL_SECONDS) as stack:
        crowd = Crowd(stack, "primary")
        on_sale = await each(range(flights), lambda _: crowd.put_flight(SEATS))
        left_behind, moved = stack.apis
        replica = stack.new_store(Persistence.APPENDED)
        await replica.start()
        try:
            await _follow(replica, stack.redis)
            over = asyncio.Event()
            answers = {api.called: _Answers() for api in stack.apis}
            callers = [
                asyncio.create_task(_call(crowd, api, on_sale, answers[api.called], over))
                for api in stack.apis
                for _ in range(CALLERS)
            ]
            await asyncio.sleep(0.5)
            began_with = await _epoch(stack)
            async with replica.client() as client:
                await client.replicaof("NO", "ONE")
            stack.lead_to(replica, [moved])
            opened_at = await _when_beyond(stack, began_with)
            await asyncio.sleep(seconds)
            over.set()
            await asyncio.gather(*callers)
            epochs = await _epoch(stack) - began_with
            late = [one for one in answers[left_behind.called].granted if one[0] > opened_at]
            acknowledged = [hold for one in answers.values() for _, hold in one.granted]
            states = await states_of(stack, acknowledged)
            unbacked = [hold for hold in acknowledged if states.get(hold) != "HELD"]
            assert not unbacked, unbacked
            await assert_sound(stack)
            stack.lead_to(replica, [left_behind])
            assert not await stack.until_ready(60.0)
            await _fill(crowd, on_sale)
            await assert_sound(stack, full=True)
        finally:
            stack.undo_links()
            await replica.stop()
    refused = answers[left_behind.called].not_now
    return (
        f"An old primary still served one of two processes for {seconds:.0f} s: "
        f"{len(acknowledged)} holds acknowledged in all, {len(late)} by that process after the new epoch had "
        f"opened, of which 0 without a journal row; it answered 'not now' {refused} times; "
        f"{epochs} epochs; seats sold twice 0"
    )


async def _follow(replica: Store, primary: Store) -> None:
    async with replica.client() as client:
        await client.config_set("masterauth", primary.password)
        await client.replicaof("127.0.0.1", str(primary.port))
        async with asyncio.timeout(_SYNCED_SECONDS):
            while True:
                if (await client.info("replication"))["master_link_status"] == "up":
                    return
                await asyncio.sleep(0.02)


async def _call(
    crowd: Crowd, api: ApiProcess, flights: list[str], answers: _Answers, over: asyncio.Event
) -> None:
    while not over.is_set():
        place = int(time.monotonic() * FLIGHTS_A_SECOND) % len(flights)
        body = hold_body((flights[place], "Y"))
        try:
            reply = await crowd.ask("POST", "/v1/holds", body, key=crowd.new_key(), api=api)
        except Lost:
            continue
        held = reply.json() or {}
        if reply.status == 201:
            answers.granted.append((time.monotonic(), held["id"]))
        elif reply.status == 409:
            assert held["code"] == "sold_out", reply
            answers.sold_out += 1
        else:
            assert reply.status == 503, reply
            answers.not_now += 1
            await asyncio.sleep(0.02)


async def _epoch(stack: Stack) -> int:
    async with stack.watcher() as connection:
        return int(await connection.fetchval("SELECT epoch FROM redis_epoch"))


async def _when_beyond(stack: Stack, epoch: int) -> float:
    """The time.monotonic at which a later epoch is known to be open for bookings."""
    async with stack.watcher() as connection, asyncio.timeout(30):
        while True:
            row = await connection.fetchrow("SELECT epoch, mode FROM redis_epoch")
            if row["epoch"] > epoch and row["mode"] == "redis":
                return time.monotonic()
            await asyncio.sleep(0.01)


async def _fill(crowd: Crowd, flights: list[str]) -> None:
    async def fill(flight: str) -> None:
        while (await crowd.hold(flight, tenant="rival")).status == 201:
            pass

    await each(flights, fill)
