"""What all parts share: reaching a Redis, reading the epoch again, moving to the next step.

A part's place is a tuple: step, epoch, incarnation, and the values the step carries. A kind of part is a
function that yields every step it may make now, each with the world it leads to.
"""

from collections.abc import Callable, Iterator
from typing import Any

from tests.model import scripts
from tests.model.world import Part, Pc, Redis, World, put

Steps = Iterator[tuple[str, World]]
Kind = Callable[[World, int, Part], Steps]


def go(world: World, part: int, pc: Pc) -> World:
    world.actors = put(world.actors, part, pc)
    return world


def reached(world: World, part: int) -> int | None:
    """The server whose incarnation this process checked when it connected; it may be an old primary."""
    if world.flags.no_incarnation_check:
        return 0
    for index, redis in enumerate(world.redises):
        if redis.incarnation == world.actors[part][2]:
            return index
    return None


def ask(world: World, part: int) -> Redis | None:
    """The server as it is, for a command without an epoch check."""
    index = reached(world, part)
    return None if index is None else world.redises[index]


def call(
    world: World, part: int, script: scripts.Script, *arguments: Any
) -> tuple[World | None, scripts.Reply]:
    """A copy of the world in which the script ran, and its reply; None and EPOCH if it did nothing."""
    index = reached(world, part)
    if index is None:
        return None, ("EPOCH",)
    redis = world.redises[index]
    now = scripts.read_clock(world, redis)
    changed, reply = script(world.setting, redis, now, world.actors[part][1], *arguments)
    if reply[0] == "EPOCH":
        return None, reply
    after = world.copy()
    if changed is not redis:
        after.redises = put(after.redises, index, changed)
    return after, reply


def learn_again(world: World, part: int, step: str, while_rebuilding: str = "") -> Steps:
    """Read the epoch's row after EPOCH; no step while it has not changed."""
    pc = world.actors[part]
    if world.mode == "redis":
        if (world.epoch, world.incarnation) != (pc[1], pc[2]):
            new = (step, world.epoch, world.incarnation, *pc[3:])
            yield "reads the new epoch", go(world.copy(), part, new)
    elif while_rebuilding:
        new = (while_rebuilding, world.epoch, world.incarnation, *pc[3:])
        yield "reads that Redis is being rebuilt", go(world.copy(), part, new)
