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

from app.hold.keys import Keys
from tests.simulation.effects import Outcome
from tests.simulation.oracle import Oracle
from tests.simulation.redis_server import Server, Sorted
from tests.simulation.rest import come_to_rest
from tests.simulation.violation import Violation
from tests.simulation.workload import Workload
from tests.simulation.world import World, lay_out

FAULTS: Final = (
    "crash",
    "freeze",
    "redis_empty",
    "redis_same",
    "redis_stale",
    "flushall",
    "promote",
    "script_flush",
    "redis_clock",
    "database_clock",
    "process_clock",
    "database_crash",
    "database_away",
    "stall",
    "rerun",
)
ROUNDS_MAX: Final = 40  # scheduler decisions for each step, at most
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
        self.enabled = [fault for fault in FAULTS if chance.random() < 0.4]
        self.fault_rate = chance.choice((0.0, 0.01, 0.02, 0.04))
        self.loss_rate = chance.choice((0.0, 0.0, 0.02, 0.08))
        self.time_rate = chance.choice((0.02, 0.06, 0.15))
        self.start_rate = chance.choice((0.1, 0.2, 0.4))
        self.under_way_max = chance.choice((3, 5, 8, 12))
        self.stall_rate = chance.choice((0.0, 0.01, 0.04))
        self.stalled: tuple[str, ...] = ("",)  # what is held back has one of these in its name
        self.stalled_for = (5, 70)  # steps
        self.awaited: Callable[[], bool] = lambda: True  # before anything fails
        if self.is_guarded:
            self._go_back_in_time()
        elif chance.random() < 0.5:
            self._choose_theme()

    def _go_back_in_time(self) -> None:
        """What was sold is for sale again in Redis; only the guard of the row stands in the way."""
        mix = self.workload.mix
        self.enabled, self.fault_rate, self.loss_rate, self.stall_rate = ["restore"], 0.02, 0, 0
        mix.jobs |= {"guardian": 0.1, "sync": 0, "number": 0, "resolver": 1}
        mix.clients |= {"book": 60, "cancel": 0, "release": 0, "patch": 0, "extend": 0, "get": 0}

    def _choose_theme(self) -> None:
        """Little trouble of one kind, more often than a draw of all would bring it together."""
        jobs, clients = self.workload.mix.jobs, self.workload.mix.clients
        themes = ("clock", "rebuild", "late", "pinned", "crowd", "grant", "heir")
        match self.world.chance.choice(themes):
            case "clock":
                self.enabled = ["redis_clock", "redis_clock", "redis_empty", "redis_same"]
                self.fault_rate, self.time_rate = 0.04, 0.06
                jobs["expirer"] = 0.5
            case "rebuild":
                self.enabled = ["flushall", "redis_empty", "freeze", "freeze", "crash"]
                self.fault_rate, self.stall_rate = 0.03, 0.08
            case "pinned":  # and its sale is late: it is settled, runs out, and goes to another
                self.enabled, self.fault_rate, self.time_rate = ["redis_clock"], 0.01, 0.1
                self.stall_rate, self.stalled = 0.5, ("claim_keys", "be_brief", "prove")
                jobs["expirer"], jobs["resolver"] = 0.2, 16
            case "grant":  # of an epoch that is over when it is to be written
                self.enabled, self.fault_rate = ["flushall", "redis_empty", "redis_same"], 0.1
                self.awaited, self.loss_rate, self.under_way_max = self._is_grant_unwritten, 0, 5
                self.stall_rate, self.stalled, self.stalled_for = 0.5, ("append",), (30, 120)
                jobs |= {"guardian": 12, "sweeper": 0.3}
            case "heir":  # of a hold that ran out books, and Redis is lost before the journal hears
                self.workload.sell_one_class(self.world.chance.choice((1, 1, 2)))
                self.enabled, self.fault_rate, self.loss_rate = ["flushall", "redis_empty"], 0.3, 0
                self.awaited, self.time_rate, self.under_way_max = self._has_heir_booked, 0.06, 3
                self.stall_rate, self.stalled, self.stalled_for = 0.8, ("live_page",), (20, 70)
                jobs |= {"expirer": 0, "guardian": 30}
                clients |= {"release": 0, "extend": 0, "cancel": 0, "patch": 0, "get": 0, "pry": 0}
            case "crowd":  # in one process, whose grants are looked for before they are written
                self.world.batch_max, self.workload.mix.crowding = 64, 0.9
                self.enabled, self.under_way_max, self.start_rate = ["flushall"], 12, 0.5
                self.fault_rate, self.stall_rate, self.stalled = 0.01, 0.6, ("append",)
                jobs["sweeper"] = 20
            case _:
                self.enabled = ["freeze", "redis_clock", "stall"]
                self.fault_rate, self.stall_rate, self.time_rate = 0.03, 0.08, 0.1

    def _is_grant_unwritten(self) -> bool:
        """Its Redis is still there, and its row on the way."""
        effects = self.world.effects.pending
        is_on_its_way = any(one.label.endswith(" append") for one in effects)
        return is_on_its_way and self.world.authority() is not None

    def _has_heir_booked(self) -> bool:
        """By the journal its forerunner lives, though Redis, not lost so far, had let go of it."""
        if self.world.authority() is None:
            return False
        rows = self.world.database.tables["hold_journal"].values()
        booked = [row["granted_at"] for row in rows if row["state"] == "CONFIRMED"]
        held = [row["expires_at"] for row in rows if row["state"] == "HELD"]
        return bool(booked and held) and min(held) <= max(booked)

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
        world, chance = self.world, self.world.chance
        drawn = chance.random()
        if drawn < self.fault_rate and self.enabled and self.awaited():
            self._fail(chance.choice(self.enabled))
            return
        if chance.random() < self.time_rate:
            self._move_time()
            return
        runnable = world.effects.runnable(world.step)
        busy = len(world.effects.pending)
        if (not runnable or chance.random() < self.start_rate) and busy < self.under_way_max:
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
        chance = self.world.chance
        for word in self.stalled:
            if word in label:
                is_held_back = chance.random() < self.stall_rate
                return self.world.step + chance.randrange(*self.stalled_for) if is_held_back else 0
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
        if chance.random() < self.loss_rate:
            outcome = chance.choice((Outcome.LOST, Outcome.UNANSWERED, Outcome.LATE))
            world.faults[f"answer {outcome.value}"] += 1
        word = world.effects.settle(effect, outcome)
        world.say(f"{effect.label}: {word}")
        if chance.random() < 0.03 and not self.is_guarded:
            world.replicate()

    def _move_time(self) -> None:
        world, chance = self.world, self.world.chance
        kind = chance.choices(
            ("little", "timer", "boundary", "seconds", "life", "lease"), (25, 28, 30, 10, 5, 2)
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

    def _fail(self, fault: str) -> None:
        world, chance = self.world, self.world.chance
        node = chance.choice(world.nodes)
        match fault:
            case "crash":
                if not node.is_dead:
                    world.crash(node)
                else:
                    world.start_node(node.number)
            case "freeze":
                if node.is_dead:
                    return
                if node.is_frozen:
                    world.loop.wake(node)
                else:
                    node.is_frozen = True
            case "redis_empty":
                world.restart_redis({}, {})
            case "redis_same":
                world.restart_redis(world.primary.data, world.primary.expiries)
            case "redis_stale":
                world.restart_redis(*world.replica)
            case "flushall":
                world.primary.command("FLUSHALL")
            case "promote":
                world.promote_replica()
            case "restore":
                world.primary.take_data_of(*world.replica)
            case "script_flush":
                world.primary.scripts = set()
            case "redis_clock":
                jump = chance.choice((300, -300, 5, -5)) * 1_000_000
                world.primary.offset = max(
                    -300_000_000, min(300_000_000, world.primary.offset + jump)
                )
            case "database_clock":
                world.database.offset = chance.choice((300, -300, 0)) * 1_000_000
            case "process_clock":
                node.offset = chance.choice((1, -1, 0)) * world.ttl * 10
            case "database_crash":
                world.database.crash()
            case "database_away":
                world.database.is_up = not world.database.is_up
                if not world.database.is_up:
                    world.database.crash()
            case "stall":
                if world.effects.pending:
                    stalled = chance.choice(world.effects.pending)
                    stalled.stalled_until = world.step + chance.randrange(10, 80)
            case "rerun":
                self._rerun()
        world.faults[fault] += 1
        world.say(f"fault: {fault} {node.name}")

    def _rerun(self) -> None:
        """A serialization failure, in some transaction that is waiting to go on."""
        world = self.world
        chosen = [one for one in world.database.open if one.writes]
        if chosen:
            world.chance.choice(chosen).must_rerun = True

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
