"""One run, from a seed to a verdict: steps with faults, then rest; the invariants are checked throughout.

A step ends one effect: it happens, fails, or is given up. Between steps requests begin, time moves, and
servers and processes fail. Everything is drawn from the seed.
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
from tests.simulation.fault_plan import FaultPlan
from tests.simulation.faults import fail
from tests.simulation.oracle import Oracle
from tests.simulation.redis_server import Server, Sorted
from tests.simulation.rest import check_at_rest
from tests.simulation.violation import Violation
from tests.simulation.workload import Workload
from tests.simulation.world import World, insert_rows

ROUNDS_MAX: Final = 400  # decisions for each step; while the database is down no decision is a step
UNDISTURBED_STEP: Final = 200  # microseconds
UNDISTURBED_STEPS_MAX: Final = 30_000  # 6 s: longer than any wait for a lock


@dataclass
class Verdict:
    seed: int
    steps: int
    hash: int
    violation: str | None
    faults: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    trace: list[str] | None = None


def run_seed(seed: int, steps: int, *, with_trace: bool = False) -> Verdict:
    state = random.getstate()
    random.seed(seed)  # for the random pauses of the protocol itself, before a rerun
    world = World(seed, with_trace=with_trace)
    try:
        with world.loop.running(), _captured_errors() as errors_logged:
            run = Run(world, errors_logged)
            violation = run.run(steps)
    finally:
        world.effects.is_over = True
        world.loop.end()
        random.setstate(state)
    counts = Counter(
        holds=len(run.oracle.promised_holds),
        bookings=len(run.oracle.booked),
        cancels=len(run.oracle.cancelled),
    )
    return Verdict(seed, world.step, world.hash, violation, world.faults, counts, world.trace)


class Run:
    def __init__(self, world: World, errors_logged: list[dict[str, Any]]) -> None:
        self.world = world
        chance = world.chance
        self.only_constraint = (
            chance.random() < 0.06
        )  # old data under the same incarnation: I1 and I5
        self.oracle = Oracle(world, only_seats=self.only_constraint)
        self.workload = Workload(world, self.oracle)
        self.errors_logged = errors_logged
        self.fault_plan = FaultPlan(world, self.workload, only_constraint=self.only_constraint)

    def run(self, steps: int) -> str | None:
        try:
            self._set_up()
            self._run_with_faults(steps)
            self.world.effects.stall = lambda _: 0
            check_at_rest(self.world, self.oracle, self.workload, self.settle_undisturbed)
            self._check(self.oracle.see_clock())
        except Violation as violation:
            return str(violation)
        return None

    def _set_up(self) -> None:
        world = self.world
        insert_rows(world.database, self.workload.flights)
        for number in range(world.chance.choice((2, 2, 3, 4))):
            node = world.start_node(number)
            self.run_undisturbed(node.core.guardian.ensure_open())
        warmed = world.nodes[: world.chance.choice((0, 1, 1))]  # as the job does within a second
        for node in warmed:
            self.run_undisturbed(node.core.repairs[IdempotencyKeyFilter].run_once())
        world.replicate()
        world.step = 0
        world.effects.stall = self._stall

    def _run_with_faults(self, steps: int) -> None:
        world = self.world
        for _ in range(steps * ROUNDS_MAX):
            if world.step >= steps:
                return
            self._decide()
            authority = self.oracle.see_clock()
            world.loop.run_ready()
            self._check(authority)
        raise Violation("the run makes no progress")

    def _decide(self) -> None:
        world, chance, fault_plan = self.world, self.world.chance, self.fault_plan
        drawn = chance.random()
        if drawn < fault_plan.fault_rate and fault_plan.enabled and fault_plan.precondition():
            fail(world, chance.choice(fault_plan.enabled))
            return
        if chance.random() < fault_plan.time_rate:
            self._move_time()
            return
        runnable = world.effects.runnable(world.step)
        busy = len(world.effects.pending)
        if (
            not runnable or chance.random() < fault_plan.start_rate
        ) and busy < fault_plan.under_way_max:
            started = self.workload.start()
            if started is not None:
                world.log(started)
            elif not runnable:
                self._resume_process()
                self._move_time()
            return
        if world.effects.zombies and chance.random() < 0.1:
            zombie = chance.choice(world.effects.zombies)
            world.log(f"late: {zombie.label} {world.effects.land(zombie)}")
            world.step += 1
            return
        if not runnable:
            self._resume_process()
            self._move_time()
            return
        self._settle_one(chance.choice(runnable))

    def _stall(self, label: str) -> int:
        chance, fault_plan = self.world.chance, self.fault_plan
        for word in fault_plan.stalled:
            if word in label:
                is_held_back = chance.random() < fault_plan.stall_rate
                return (
                    self.world.step + chance.randrange(*fault_plan.stalled_for)
                    if is_held_back
                    else 0
                )
        return 0

    def _resume_process(self) -> None:
        """Resume what is stopped, when no process can act or every effect is stalled."""
        world = self.world
        world.effects.resume()
        for node in list(world.nodes):
            if node.is_frozen and not node.is_dead:
                world.loop.wake(node)
                world.log(f"{node.name} resumes")
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
        if chance.random() < self.fault_plan.loss_rate:
            outcome = chance.choice((Outcome.LOST, Outcome.UNANSWERED, Outcome.LATE))
            world.faults[f"answer {outcome.value}"] += 1
        word = world.effects.settle(effect, outcome)
        world.log(f"{effect.label}: {word}")
        if chance.random() < 0.03 and not self.only_constraint:
            world.replicate()

    def _move_time(self) -> None:
        world, chance = self.world, self.world.chance
        kind = chance.choices(
            ("little", "timer", "boundary", "seconds", "life", "lease", "tombstone"),
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
        elif kind == "tombstone":  # the lifetime of a tombstone
            by = 15 * 60 * 1_000_000
        world.move(by)
        if kind in ("boundary", "life") and chance.random() < 0.7:
            asked = self.workload.start_hold()
            if asked is not None:
                world.log(asked)
        world.log(f"time moves by {by / 1e6} ({kind})")

    def _to_a_boundary(self) -> int | None:
        """Microseconds until the next hold expires, or one more or less."""
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

    def _check(self, authority: Server | None) -> None:
        world = self.world
        self.oracle.check(authority)
        if world.loop.faults:
            error = world.loop.faults[0]
            if isinstance(error, Violation):
                raise error
            raise Violation(f"an exception that was not caught: {error!r}") from error
        if world.failures:
            raise Violation(f"a server failed: {world.failures[0]!r}")
        for event in self.errors_logged:
            if event.get("event") != "oversell_stopped":
                raise Violation(f"logged as an error: {event}")
            if not self.only_constraint:
                raise Violation(f"I2 only the constraint stopped an oversale by {event['hold_id']}")

    # Without faults, in order.

    def run_undisturbed(self, work: Awaitable[Any]) -> Any:
        """Run the work to its end, together with everything under way."""

        async def whole() -> Any:
            return await work

        world = self.world
        task = world.loop.spawn(None, whole())
        self.settle_undisturbed(task.done)
        return task.result()

    def settle_undisturbed(self, is_over: Callable[[], bool]) -> None:
        world = self.world
        for _ in range(UNDISTURBED_STEPS_MAX):
            authority = self.oracle.see_clock()
            world.loop.run_ready()
            self._check(authority)
            if is_over():
                return
            runnable = world.effects.runnable(1 << 60)
            if runnable:
                effect = runnable[0]
                world.step += 1
                world.move(UNDISTURBED_STEP)
                if effect in world.effects.pending:
                    world.log(f"{effect.label}: {world.effects.settle(effect, Outcome.DONE)}")
                continue
            timer, deadline = world.loop.next_timer(), world.database.next_deadline()
            due = [timer] if timer is not None else []
            if deadline is not None:
                due.append(deadline)
            if not due:
                return
            world.move(max(1, min(due) - world.loop.now))
        raise Violation("the work under way does not end")


@contextmanager
def _captured_errors() -> Iterator[list[dict[str, Any]]]:
    """Drop all log events, and collect the errors: each is a violation."""
    errors_logged: list[dict[str, Any]] = []

    def keep(_: Any, level: str, event: Any) -> Any:
        if level in ("error", "critical", "exception"):
            errors_logged.append(dict(event))
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[keep], cache_logger_on_first_use=False)
    try:
        yield errors_logged
    finally:
        structlog.configure(**before)
