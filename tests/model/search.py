"""Breadth-first search over every order of steps, so that the first failure found is a shortest one.

For a world that is too large for it, `walk` tries many random orders, from a seed.
"""

import gc
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.model import at_rest, scripts, transactions
from tests.model.flags import Flags
from tests.model.moves import start, steps_of, successors
from tests.model.properties import violated
from tests.model.world import (
    Configuration,
    Keys,
    Redis,
    Seats,
    Setting,
    Stock,
    World,
    put,
    unpack,
)

STATES_MAX = 600_000
JUDGED_MAX = 100_000
DEPTH_MAX = 120


@dataclass(frozen=True, slots=True)
class Found:
    """The result of an exploration."""

    violation: str | None
    trace: tuple[str, ...]
    states: int
    steps: int
    seconds: float
    is_whole: bool  # every state was seen, or a violation


def explore(
    configuration: Configuration,
    flags: Flags | None = None,
    *,
    strict: bool = True,
    states_max: int = STATES_MAX,
    wanted: Sequence[str] = (),
) -> Found:
    """Explore a world. `wanted`: the prefixes of the violations that count; all count without it."""
    gc.disable()  # nothing here refers to itself, and there are millions of tuples
    setting = Setting(configuration, flags or Flags(), strict)
    begun, steps = time.process_time(), 0
    first = initial(setting)
    parents: dict[Any, tuple[Any, str] | None] = {first.pack(): None}
    front = [first.pack()]

    def found(violation: str | None, state: Any, *, is_whole: bool = True) -> Found:
        trace: list[str] = []
        while (parent := parents[state]) is not None:
            state, label = parent
            trace.append(label)
        seconds = time.process_time() - begun
        return Found(violation, tuple(reversed(trace)), len(parents), steps, seconds, is_whole)

    while front:
        following = []
        for state in front:
            for label, after in successors(unpack(setting, state)):
                steps += 1
                packed = after.pack()
                if packed in parents:
                    continue
                parents[packed] = (state, label)
                violation = judge(after)
                if violation and (not wanted or violation.startswith(tuple(wanted))):
                    return found(violation, packed)
                if after.violation is None:
                    following.append(packed)
            if len(parents) > states_max:
                return found(None, first.pack(), is_whole=False)
        front = following
    return found(None, first.pack())


def walk(
    configuration: Configuration, seconds: float, seed: int, flags: Flags | None = None
) -> Found:
    """Random walks: the movable part with the highest random priority moves; sometimes one is lowered."""
    setting = Setting(configuration, flags or Flags())
    chance, begun, walks = random.Random(seed), time.process_time(), 0
    seen: set[int] = set()
    while time.process_time() - begun < seconds:
        walks += 1
        violation, trace = _walk_once(setting, chance, seen)
        if violation:
            return Found(
                violation, tuple(trace), len(seen), walks, time.process_time() - begun, True
            )
        if len(setting.judged) > JUDGED_MAX:
            setting.judged.clear()
    return Found(None, (), len(seen), walks, time.process_time() - begun, False)


def _walk_once(
    setting: Setting, chance: random.Random, seen: set[int]
) -> tuple[str | None, list[str]]:
    world, trace = initial(setting), []
    order = list(range(len(world.actors)))
    chance.shuffle(order)
    fault_share, reorder_share = chance.choice((0.03, 0.08, 0.2)), chance.choice((0.05, 0.15, 0.4))
    for _ in range(DEPTH_MAX):
        choices: list[tuple[str, World]] = []
        if chance.random() >= fault_share:
            if chance.random() < reorder_share:
                order.append(order.pop(chance.randrange(min(4, len(order)))))
            choices = next((steps for i in order if (steps := list(steps_of(world, i)))), [])
        choices = choices or list(successors(world, parts=False))
        if not choices:
            break
        label, world = chance.choice(choices)
        trace.append(label)
        state = hash(world.pack())
        if state not in seen:
            seen.add(state)
            violation = judge(world)
            if violation:
                return violation, trace
    return None, trace


def judge(world: World) -> str | None:
    violation = violated(world)
    if violation is None and not world.configuration.constraint_only:
        violation = at_rest.failure(world)
    return violation


def initial(setting: Setting) -> World:
    """The first state: epoch 1 is open, and the events that the configuration puts before have happened."""
    conf, holds = setting.configuration, len(setting.configuration.holds)
    world = World()
    world.setting = setting
    world.epoch, world.mode, world.incarnation, world.cut, world.time = 1, "redis", 0, 0, 0
    world.stock = tuple(Stock(limit, limit, 0, 0) for limit in conf.limits)
    world.journal, world.bookings = (None,) * holds, (0,) * holds
    seats = tuple(Seats(limit, 0, 0) for limit in conf.limits)
    whole = setting.flags.full_when_sure
    keys = Keys(seats, (None,) * holds, frozenset(), frozenset(), whole=whole)
    redis = Redis(0, 0, 1, 1, 0, ((scripts.number(setting, 1), keys),))
    world.redises, world.replica = (redis,), redis
    world.budget, world.inflight = conf.budget, ()
    world.followed = ((0,) * len(conf.limits), 1)
    world.seen, world.promised, world.released = 0, (None,) * holds, (False,) * holds
    world.released_in, world.answers = (0,) * holds, (None,) * len(conf.keys)
    world.violation = None
    world.actors = tuple(start(world, part) for part in conf.parts)
    for what, hold in conf.before:
        _before(world, what, hold)
    return world


def _before(world: World, what: str, hold: int) -> None:
    setting = world.setting
    redis, reply = scripts.place(setting, world.redises[0], 0, 1, hold)
    transactions.insert(world, 1, hold, reply[2], reply[3])
    world.promised = put(world.promised, hold, reply[3])
    key = world.configuration.key_of(hold)
    if key >= 0:
        world.answers = put(world.answers, key, (hold, reply[3]))
    if what == "book":
        redis, _ = scripts.pin(setting, redis, 0, 1, hold)
        _, rows = transactions.confirm(world, 1, hold, 1)
        redis, _ = scripts.finish(setting, redis, 0, 1, hold, rows)
    world.redises = (redis,)
