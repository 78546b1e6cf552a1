"""One episode: clients work while a fault is injected; then everything comes to rest.

An episode has its own flights, so that it is checked by itself although the stack is older. The episode waits
for rest: every process ready, every hold ended, every fact on the bus, and no memo in Redis that waits for an
end. What does not come to rest in time is a violation.
"""

import asyncio
import time
from dataclasses import dataclass, field
from random import Random

import asyncpg
from redis.exceptions import RedisError

from app.hold.redis.keys import EPOCH, Keys
from tests.builders.wire import Classes
from tests.faults.faults import FAULTS
from tests.faults.faults.base import Fault
from tests.faults.history import History
from tests.faults.plan import Plan
from tests.faults.scene import SETTLING_SECONDS, RateLimiter, Scene
from tests.faults.stack import Stack
from tests.faults.workloads import WORKLOADS

CLIENTS = 32
CALLS_PER_SECOND = 600.0
REST_SECONDS = 40.0
_AFTERWARDS_SECONDS = 7.0  # of an episode: until every hold has expired and was swept
_BEFORE_SECONDS = (0.4, 1.5)  # between two injections
_STILL_WAITING = """
    SELECT
        (SELECT count(*) FROM hold_journal WHERE state = 'HELD') AS holds,
        (SELECT count(*) FROM outbox WHERE published_at IS NULL) AS facts
"""


@dataclass(slots=True)
class Outcome:
    plan: Plan
    history: History
    flights: dict[str, Classes]
    faults: list[tuple[float, float]] = field(default_factory=list)  # begun and healed, monotonic
    not_at_rest: list[str] = field(default_factory=list)
    settled_at: float = 0.0

    def recovery_seconds(self) -> list[float]:
        """Seconds from the end of each fault until a later request for seats was granted or refused.

        A fault that is followed by another before that does not count.
        """
        answers = sorted(
            (one.completed_at, one.invoked_at)
            for one in self.history.operations()
            if one.kind == "hold" and one.completed_at is not None and one.status in (201, 409)
        )
        begun = [begun_at for begun_at, _ in self.faults] + [self.settled_at]
        found = []
        for (_, healed_at), next_at in zip(self.faults, begun[1:], strict=True):
            answered_at = next((at for at, asked in answers if asked >= healed_at), next_at)
            if answered_at < next_at:
                found.append(answered_at - healed_at)
        return found


async def play(stack: Stack, plan: Plan) -> Outcome:
    """Run the episode; returns at rest, with a complete history and stores that can be read."""
    stack.keep_tokens_good()
    chance = Random(f"{plan.seed}/{plan.number}")
    scene = Scene(stack, plan.label, chance, RateLimiter(CALLS_PER_SECOND))
    scene.ends_at = time.monotonic() + 30  # for the preparation
    clients = CLIENTS // len(plan.workloads)
    workloads = [WORKLOADS[name](scene, clients) for name in plan.workloads]
    for workload in workloads:
        await workload.prepare()
    scene.ends_at = time.monotonic() + max(3.0, plan.seconds - _AFTERWARDS_SECONDS)
    outcome = Outcome(plan, scene.history, scene.flights)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_inject_repeatedly(scene, outcome))
        for workload in workloads:
            tasks.create_task(workload.run())
    outcome.not_at_rest = await _until_at_rest(stack)
    outcome.settled_at = time.monotonic()
    return outcome


async def _inject_repeatedly(scene: Scene, outcome: Outcome) -> None:
    kind = FAULTS[outcome.plan.fault]
    while outcome.plan.repeats_fault or not outcome.faults:
        await asyncio.sleep(scene.chance.uniform(*_BEFORE_SECONDS))
        left = scene.ends_at - time.monotonic()
        if left < 1.0:
            return
        begun_at = time.monotonic()
        await _inject(kind(scene, left - 0.5))
        outcome.faults.append((begun_at, time.monotonic()))


async def _inject(fault: Fault) -> None:
    try:
        await fault.begin()
        await asyncio.sleep(fault.lasts_seconds())
    finally:
        await fault.heal()


async def _until_at_rest(stack: Stack) -> list[str]:
    """Wait for rest; returns what is not at rest at the time limit, normally nothing."""
    unready = await stack.until_ready(SETTLING_SECONDS)
    if unready:
        return [f"{name} is not ready" for name in unready]
    deadline = time.monotonic() + REST_SECONDS
    while True:
        try:
            waiting = [*await _waiting_in_postgres(stack), *await _waiting_in_redis(stack)]
        except (OSError, TimeoutError, RedisError, asyncpg.PostgresError) as error:
            waiting = [f"a store does not answer: {type(error).__name__}"]
        if not waiting or time.monotonic() > deadline:
            return waiting
        await asyncio.sleep(0.2)


async def _waiting_in_postgres(stack: Stack) -> list[str]:
    async with stack.watcher() as connection:
        row = await connection.fetchrow(_STILL_WAITING)
    return [f"{count} {what} wait in Postgres" for what, count in row.items() if count]


async def _waiting_in_redis(stack: Stack) -> list[str]:
    async with stack.redis_watcher() as client:
        number = await client.get(EPOCH)
        if number is None:
            return ["no epoch is open in Redis"]
        keys = Keys(int(number))
        counts = {
            "due": await client.zcard(keys.due),
            "fresh": await client.zcard(keys.fresh),
            "pinned": await client.zcard(keys.pinned),
            "ended": await client.scard(keys.ended),
        }
    return [f"{count} {what} wait in Redis" for what, count in counts.items() if count]
