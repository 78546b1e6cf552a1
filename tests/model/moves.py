"""Every step that may come next: of a part, of a commit under way, of the clock, of a fault."""

from collections.abc import Callable

from tests.model import booking, changing, placing, rebuilding, transactions
from tests.model.properties import see_clock
from tests.model.steps import Kind, Steps, go
from tests.model.world import DONE, ENDED, Fault, Part, Pc, Redis, World, put, spend

KINDS: dict[str, tuple[Kind, Pc]] = {
    "hold": (placing.hold, ("place", 1, 0, 0, 0, 0)),
    "batch": (placing.batch, ("place", 1, 0, ())),
    "sweep": (placing.sweep, ("look", 1, 0, "", ())),
    "expire": (placing.expire, ("look", 1, 0)),
    "look": (placing.look, ("look", 1, 0)),
    "confirm": (booking.confirm, ("pin", 1, 0, 0, ())),
    "book together": (booking.book_batch, ("pin", 1, 0, (), ())),
    "resolve": (booking.resolve, ("settle", 1, 0, (), ())),
    "release": (changing.release, ("journal", 1, 0, "")),
    "extend": (changing.extend, ("extend", 1, 0, 0)),
    "cancel": (changing.cancel, ("journal", 1, 0, ())),
    "patch": (changing.patch, ("journal", 1, 0, ())),
    "reduce": (changing.reduce_ceiling, ("look", 1, 0, ())),
    "sync": (changing.sync, ("look", 1, 0, ())),
    "rebuild": (rebuilding.rebuild, ("bump", 0, 0, 0, ())),
    "fill": (rebuilding.fill, ("read", 1, 0, frozenset())),
}
_CLOCK_STEP_BACK = 2


def start(world: World, part: Part) -> Pc:
    """A part's place before its first step."""
    if part.kind == "extend" and not world.flags.extend_redis_first:
        return ("journal first", 1, 0, 0)
    return KINDS[part.kind][1]


def successors(world: World, *, parts: bool = True) -> Steps:
    if parts:
        for index in range(len(world.configuration.parts)):
            yield from steps_of(world, index)
    for index, (held, epoch, token) in enumerate(world.inflight):
        after = world.copy()
        after.inflight = world.inflight[:index] + world.inflight[index + 1 :]
        transactions.confirm(after, epoch, held, token)
        yield (
            f"the commit of {world.name(held)} under way (epoch {epoch}, token {token}) takes effect",
            after,
        )
    if world.time < world.configuration.until:
        after = world.copy()
        after.time += 1
        see_clock(after)
        yield f"clock: {after.time}", after
    yield from _age(world)
    yield from _fail(world)


def steps_of(world: World, index: int) -> Steps:
    if world.actors[index] == DONE:
        return
    part = world.configuration.parts[index]
    for label, after in _begins_now(world, index, part):
        yield f"{part.name}: {label}", after
    for label, after in KINDS[part.kind][0](world, index, part):
        yield f"{part.name}: {label}", after


def _begins_now(world: World, index: int, part: Part) -> Steps:
    """A process that has done nothing yet may also begin with the present epoch."""
    pc = world.actors[index]
    if world.mode != "redis" or world.epoch == 1 or part.kind == "rebuild":
        return
    if pc == start(world, part):
        new = (pc[0], world.epoch, world.incarnation, *pc[3:])
        yield f"begins in epoch {world.epoch}", go(world.copy(), index, new)


def _age(world: World) -> Steps:
    """A tombstone vanishes 15 minutes after the journal has the end, a journal row 30 days after it."""
    if world.budget.forgettings:
        for at, redis in enumerate(world.redises):
            for number, keys in redis.keys:
                for hold, memo in enumerate(keys.memos):
                    if world.flags.tombstones_wait and hold in keys.ended:
                        continue
                    if memo is not None and memo.state in (*ENDED, "SOLD"):
                        after = world.copy()
                        spend(after, "forgettings")
                        new = keys._replace(memos=put(keys.memos, hold, None))
                        pairs = tuple((n, new if n == number else k) for n, k in redis.keys)
                        after.redises = put(world.redises, at, redis._replace(keys=pairs))
                        after.released_in = put(after.released_in, hold, 0)
                        yield f"the tombstone of {world.name(hold)} vanishes", after
    if world.budget.drops and _all_rest(world):
        for hold, row in enumerate(world.journal):
            if row is not None and _may_drop(world, hold, row.state, row.expires):
                after = world.copy()
                spend(after, "drops")
                after.journal = put(after.journal, hold, None)
                _forget_answer(after, hold)
                yield f"the row of {world.name(hold)} is deleted", after


def _may_drop(world: World, hold: int, state: str, expires: int) -> bool:
    """Whether retention may delete the row: its tombstone is gone and the journal has every end."""
    for redis in world.redises:
        if any(keys.memos[hold] is not None or hold in keys.ended for _, keys in redis.keys):
            return state == "HELD" and world.flags.drop_held
    return state in ENDED or (state == "CONFIRMED" and world.flags.drop_booked)


def _all_rest(world: World) -> bool:
    """No part is in the middle of its task: none takes 30 days."""
    parts = world.configuration.parts
    return all(
        pc == DONE or pc == start(world, part) or pc[0] == start(world, part)[0]
        for pc, part in zip(world.actors, parts, strict=True)
    )


def _forget_answer(after: World, hold: int) -> None:
    """From now on the idempotency key counts as new."""
    key = after.configuration.key_of(hold)
    if after.bookings[hold] == 0 and key >= 0:
        after.answers = put(after.answers, key, None)
        after.promised = put(after.promised, hold, None)
        after.released = put(after.released, hold, False)
    elif key >= 0:
        after.answers = put(after.answers, key, None)


def _fail(world: World) -> Steps:
    redis, conf = world.redises[0], world.configuration
    if world.budget.losses:
        newest = max(each.incarnation for each in world.redises) + 1
        for fault in conf.faults:
            after = world.copy()
            spend(after, "losses")
            label, after.redises = _FAULTS[fault](world, redis, newest)
            yield f"FAULT: {label}", after
    if world.budget.catch_ups:
        after = world.copy()
        spend(after, "catch_ups")
        after.replica = redis
        yield "the replica catches up", after


def _emptied(redis: Redis) -> Redis:
    return redis._replace(epoch=None, loading=0, clock=0, keys=())


def _promoted(world: World, newest: int) -> Redis:
    offset = world.configuration.redis_offset
    return world.replica._replace(incarnation=newest, offset=offset)


_FAULTS: dict[Fault, Callable[[World, Redis, int], tuple[str, tuple[Redis, ...]]]] = {
    "flush": lambda world, redis, _: (
        "FLUSHALL",
        put(world.redises, 0, _emptied(redis)),
    ),
    "empty": lambda world, redis, newest: (
        "Redis restarts empty",
        (_emptied(redis)._replace(incarnation=newest, offset=world.configuration.redis_offset),),
    ),
    "stale": lambda world, _, newest: (
        "a lagging replica is promoted, the old primary is gone",
        (_promoted(world, newest),),
    ),
    "split": lambda world, redis, newest: (
        "a lagging replica is promoted, the old primary still serves",
        (_promoted(world, newest), redis),
    ),
    "silent": lambda world, _, __: (
        "old data under the same incarnation and epoch",
        put(world.redises, 0, world.replica),
    ),
    "back": lambda world, redis, _: (
        "the clock of Redis goes back",
        put(world.redises, 0, redis._replace(offset=redis.offset - _CLOCK_STEP_BACK)),
    ),
}
