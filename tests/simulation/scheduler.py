"""One run: from a seed to a verdict. Two hundred steps of trouble, then rest, judged all the way.

A step is one decision that lets an effect happen, fail, or be given up. Between steps requests begin,
time moves, and servers and processes fail; all of it is drawn from the seed and from nothing else.
"""

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from app.hold.redis.keys import Keys
from app.hold.repairs.key_filter import IdempotencyKeyFilter
from tests.simulation.effects import Outcome
from tests.simulation.faults import fail
from tests.simulation.oracle import Oracle
from tests.simulation.redis_server import Server, Sorted
from tests.simulation.rest import come_to_rest
from tests.simulation.troubles import Troubles
from tests.simulation.violation import Violation
from tests.simulation.workload import Workload
from tests.simulation.world import World, lay_out

ROUNDS_MAX: Final = 400  # decisions a step; while the database is away none does a step
CALM_STEP: Final = 200  # microseconds
CALM_STEPS_MAX: Final = 30_000  # 6 s: longer than any wait for a lock


@dataclass
class Verdict:
    seed: int
    steps: int
    hash: int
    violation: str | None
    faults: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    trace: list[str] | None = None


def run_seed(seed: int, steps: int, *, with_trace: bool = False) -> Verdict:
    state = random.getstate()
    random.seed(seed)  # what the protocol itself draws: the pause before a rerun
    world = World(seed, with_trace=with_trace)
    try:
        with world.loop.running(), _listening() as heard:
            run = Run(world, heard)
            violation = run.judged(steps)
    finally:
        world.effects.is_over = True
        world.loop.end()
        random.setstate(state)
    told = Counter(
        holds=len(run.oracle.promises),
        bookings=len(run.oracle.booked),
        cancels=len(run.oracle.cancelled),
    )
    return Verdict(seed, world.step, world.hash, violation, world.faults, told, world.trace)


class Run:
    def __init__(self, world: World, heard: list[dict[str, Any]]) -> None:
        self.world = world
        chance = world.chance
        self.is_guarded = chance.random() < 0.06  # old data under the same incarnation: I1 and I5
        self.oracle = Oracle(world, only_seats=self.is_guarded)
        self.workload = Workload(world, self.oracle)
        self.heard = heard
        self.troubles = Troubles(world, self.workload, is_guarded=self.is_guarded)

    def judged(self, steps: int) -> str | None:
        try:
            self._begin()
            self._trouble(steps)
            self.world.effects.hold_back = lambda _: 0
            come_to_rest(self.world, self.oracle, self.workload, self.settle_calmly)
            self._judge(self.oracle.see_clock())
        except Violation as violation:
            return str(violation)
        return None

    def _begin(self) -> None:
        world = self.world
        lay_out(world.database, self.workload.flights)
        for number in range(world.chance.choice((2, 2, 3, 4))):
            node = world.start_node(number)
            self.calmly(node.core.guardian.ensure_open())
        for node in world.nodes[: world.chance.choice((0, 1, 1))]:  # as it does within a second
            self.calmly(node.core.repairs[IdempotencyKeyFilter].run_once())
        world.replicate()
        world.step = 0
        world.effects.hold_back = self._hold_back

    def _trouble(self, steps: int) -> None:
        world = self.world
        for _ in range(steps * ROUNDS_MAX):
            if world.step >= steps:
                return
            self._decide()
            authority = self.oracle.see_clock()
            world.loop.run_ready()
            self._judge(authority)
        raise Violation("the run does not go on")

    def _decide(self) -> None:
        world, chance, troubles = self.world, self.world.chance, self.troubles
        drawn = chance.random()
        if drawn < troubles.fault_rate and troubles.enabled and troubles.awaited():
            fail(world, chance.choice(troubles.enabled))
            return
        if chance.random() < troubles.time_rate:
            self._move_time()
            return
        runnable = world.effects.runnable(world.step)
        busy = len(world.effects.pending)
        if (
            not runnable or chance.random() < troubles.start_rate
        ) and busy < troubles.under_way_max:
            started = self.workload.start()
            if started is not None:
                world.say(started)
            elif not runnable:
                self._bring_back()
                self._move_time()
            return
        if world.effects.zombies and chance.random() < 0.1:
            zombie = chance.choice(world.effects.zombies)
            world.say(f"late: {zombie.label} {world.effects.land(zombie)}")
            world.step += 1
            return
        if not runnable:
            self._bring_back()
            self._move_time()
            return
        self._settle_one(chance.choice(runnable))

    def _hold_back(self, label: str) -> int:
        chance, troubles = self.world.chance, self.troubles
        for word in troubles.stalled:
            if word in label:
                is_held_back = chance.random() < troubles.stall_rate
                return (
                    self.world.step + chance.randrange(*troubles.stalled_for) if is_held_back else 0
                )
        return 0

    def _bring_back(self) -> None:
        """Where nobody is left to do anything, or all is held back."""
        world = self.world
        world.effects.resume()
        for node in list(world.nodes):
            if node.is_frozen and not node.is_dead:
                world.loop.wake(node)
                world.say(f"{node.name} wakes up")
                return
            if node.is_dead:
                world.start_node(node.number)
                return

    def _settle_one(self, effect: Any) -> None:
        world, chance = self.world, self.world.chance
        world.step += 1
        world.move(chance.randrange(2000))
        if effect not in world.effects.pending:  # time ended it
            return
        outcome = Outcome.DONE
        if chance.random() < self.troubles.loss_rate:
            outcome = chance.choice((Outcome.LOST, Outcome.UNANSWERED, Outcome.LATE))
            world.faults[f"answer {outcome.value}"] += 1
        word = world.effects.settle(effect, outcome)
        world.say(f"{effect.label}: {word}")
        if chance.random() < 0.03 and not self.is_guarded:
            world.replicate()

    def _move_time(self) -> None:
        world, chance = self.world, self.world.chance
        kind = chance.choices(
            ("little", "timer", "boundary", "seconds", "life", "lease", "memory"),
            (25, 28, 30, 10, 5, 2, 0.5),
        )[0]
        by = chance.randrange(50_000)
        if kind == "timer":
            timer = world.loop.next_timer()
            deadline = world.database.next_deadline()
            due = [timer] if timer is not None else []
            if deadline is not None:
                due.append(deadline)
            by = max(0, min(due) - world.loop.now) if due else by
        elif kind == "boundary":
            by = self._to_a_boundary() or by
        elif kind == "seconds":
            by = chance.randrange(1_000_000, 6_000_000)
        elif kind == "life":
            by = int(world.ttl.total_seconds() * 1_000_000)
        elif kind == "lease":
            by = 16_000_000
        elif kind == "memory":  # as long as Redis remembers what ended
            by = 15 * 60 * 1_000_000
        world.move(by)
        if kind in ("boundary", "life") and chance.random() < 0.7:
            asked = self.workload.take_seats()
            if asked is not None:
                world.say(asked)
        world.say(f"time moves by {by / 1e6} ({kind})")

    def _to_a_boundary(self) -> int | None:
        """To the microsecond at which a hold runs out, or one beside it."""
        authority = self.world.authority()
        if authority is None:
            return None
        names = Keys(int(self.world.database.tables["redis_epoch"][0,]["epoch"]))
        ends = [
            round(end)
            for key, value in authority.data.items()
            if key.startswith(names.prefix + "x:") and isinstance(value, Sorted)
            for end in value.values()
        ]
        ahead = [end - authority.now() for end in sorted(ends) if end > authority.now() + 1]
        if not ahead:
            return None
        return ahead[0] + self.world.chance.choice((-1, 0, 0, 1))

    def _judge(self, authority: Server | None) -> None:
        world = self.world
        self.oracle.check(authority)
        if world.loop.faults:
            error = world.loop.faults[0]
            if isinstance(error, Violation):
                raise error
            raise Violation(f"an exception that nobody took: {error!r}") from error
        if world.failures:
            raise Violation(f"a server failed: {world.failures[0]!r}")
        for event in self.heard:
            if event.get("event") != "oversell_stopped":
                raise Violation(f"logged as an error: {event}")
            if not self.is_guarded:
                raise Violation(f"I2 only the guard kept {event['hold_id']} from an oversell")

    # Without trouble: what is asked goes through, in order.

    def calmly(self, work: Awaitable[Any]) -> Any:
        """Runs the work, and whatever else is under way, to the work's end."""

        async def whole() -> Any:
            return await work

        world = self.world
        task = world.loop.spawn(None, whole())
        self.settle_calmly(task.done)
        return task.result()

    def settle_calmly(self, is_over: Callable[[], bool]) -> None:
        world = self.world
        for _ in range(CALM_STEPS_MAX):
            authority = self.oracle.see_clock()
            world.loop.run_ready()
            self._judge(authority)
            if is_over():
                return
            runnable = world.effects.runnable(1 << 60)
            if runnable:
                effect = runnable[0]
                world.step += 1
                world.move(CALM_STEP)
                if effect in world.effects.pending:
                    world.say(f"{effect.label}: {world.effects.settle(effect, Outcome.DONE)}")
                continue
            timer, deadline = world.loop.next_timer(), world.database.next_deadline()
            due = [timer] if timer is not None else []
            if deadline is not None:
                due.append(deadline)
            if not due:
                return
            world.move(max(1, min(due) - world.loop.now))
        raise Violation("what is under way comes to no end")


@contextmanager
def _listening() -> Iterator[list[dict[str, Any]]]:
    """Says nothing, and keeps what was logged as an error: a mistake of ours, or worse."""
    heard: list[dict[str, Any]] = []

    def keep(_: Any, level: str, event: Any) -> Any:
        if level in ("error", "critical", "exception"):
            heard.append(dict(event))
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[keep], cache_logger_on_first_use=False)
    try:
        yield heard
    finally:
        structlog.configure(**before)
