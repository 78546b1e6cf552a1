"""What must be true when everybody stops and only the repairs go on: asked in every state.

All parts and everything on its way is dropped. Then rebuild if needed, resolver, sweeper, expirer and
sync run to their ends. After that every promise can be booked, all of them together (I3); every key
gets an answer (I4); and once time has passed Redis counts what Postgres counts, with nothing held (I6,
I11).
"""

from typing import Any

from tests.model import scripts, transactions
from tests.model.properties import authority, is_promise, see_clock
from tests.model.world import LIVE, Keys, Redis, World, put

_TRIES_MAX = 4
_LATER = 50


def failure(world: World) -> str | None:
    key = (
        world.epoch, world.mode, world.incarnation, world.cut, world.stock, world.journal,
        world.bookings, tuple(_as_judged(world, redis) for redis in world.redises), world.time,
        world.seen, world.promised, world.released, world.answers, world.followed,
    )  # fmt: skip
    judged = world.setting.judged
    if key not in judged:
        judged[key] = _failure(world.copy())
    return judged[key]


def _as_judged(world: World, redis: Redis) -> Any:
    """Without what makes no difference at rest."""
    if redis.epoch is None:
        return redis._replace(keys=())
    keys = scripts.keys_of(world.setting, redis, redis.epoch)
    return redis._replace(keys=((0, keys._replace(marks=frozenset(), whole=True)),))


def _failure(world: World) -> str | None:
    repair(world)
    keys = _keys(world)
    left = scripts.take_back(world.setting, keys, scripts.read_clock(world, world.redises[0]))
    for hold, memo in enumerate(left.memos):
        row = world.journal[hold]
        if memo is not None and memo.state in LIVE and (row is None or row.state != "HELD"):
            state = None if row is None else row.state
            return f"I11 Redis keeps seats for {world.name(hold)}, which the journal calls {state}"
    return _unbookable(world.copy()) or _unanswered(world) or _uneven(world)


def repair(world: World) -> None:
    """Everything that mends, one after another, each to its end."""
    redis = world.redises[0]
    if authority(world) is not redis:
        _rebuild(world)
    for hold in sorted(_keys(world).ended):
        transactions.expire_on_word(world, world.epoch, hold)
    for hold in range(len(world.journal)):
        memo, row = _keys(world).memos[hold], world.journal[hold]
        if memo is None or memo.state not in LIVE:
            continue
        is_missing = row is None
        has_ended = row is not None and row.state != "HELD" and world.flags.undo
        if memo.state == "PINNED" or is_missing or has_ended:
            settle(world, hold)
    if world.flags.versions:
        _sync(world)


def _rebuild(world: World) -> None:
    """One that nothing interrupts: what is read is final."""
    setting, redis = world.setting, world.redises[0]
    cut = transactions.bump(world)
    keys = Keys(
        scripts.stocked(world.stock),
        scripts.loaded(world.journal),
        frozenset(),
        frozenset(),
        whole=False,
    )
    opened = redis._replace(epoch=world.epoch, loading=world.epoch, clock=cut, keys=())
    world.redises = (scripts.with_keys(setting, opened, world.epoch, keys),)
    world.mode, world.incarnation = "redis", redis.incarnation
    world.followed = (tuple(row.version for row in world.stock), world.epoch)
    see_clock(world)


def _sync(world: World) -> None:
    """Follows what it has not followed: facts, by the versions they led to."""
    versions, epoch = world.followed
    for flight, row in enumerate(world.stock):
        is_new_epoch = epoch != world.epoch and world.flags.sync_rewinds
        if row.version > versions[flight] or is_new_epoch:
            _run(world, scripts.apply, ((flight, row),))
    world.followed = (tuple(row.version for row in world.stock), world.epoch)


def settle(world: World, hold: int) -> None:
    state, fence = transactions.settle(world, world.epoch, hold)
    if state == "HELD":
        _run(world, scripts.unpin, hold, fence)
    elif state == "CONFIRMED":
        _run(world, scripts.finish, hold, world.rows(hold))
    else:
        _run(world, scripts.end, hold, state)


def _run(world: World, script: scripts.Script, *arguments: Any) -> scripts.Reply:
    redis = world.redises[0]
    now = scripts.read_clock(world, redis)
    redis, reply = script(world.setting, redis, now, world.epoch, *arguments)
    world.redises = put(world.redises, 0, redis)
    return reply


def _keys(world: World) -> Keys:
    return scripts.keys_of(world.setting, world.redises[0], world.epoch)


def _unbookable(world: World) -> str | None:
    for hold in range(len(world.journal)):
        if is_promise(world, hold) and world.bookings[hold] == 0:
            why = _book(world, hold)
            if why:
                return f"I3 at rest live hold {world.name(hold)} cannot be booked ({why})"
    return None


def _book(world: World, hold: int) -> str | None:
    state = ""
    for _ in range(_TRIES_MAX):
        reply = _run(world, scripts.pin, hold)
        fence = reply[1] if reply[0] == "PINNED" else -1
        state, rows = transactions.confirm(world, world.epoch, hold, fence)
        if state in ("DONE", "SAME"):
            _run(world, scripts.finish, hold, rows)
            return None
        if state != "FENCE":
            return f"{reply[0]}, {state}"
        settle(world, hold)
    return state


def _unanswered(world: World) -> str | None:
    """With attempts there is always one more; without, the only id must not be aborted."""
    if world.flags.attempts:
        return None
    for key, holds in enumerate(world.configuration.keys):
        if world.answers[key] is None and holds:
            row, memo = world.journal[holds[0]], _keys(world).memos[holds[0]]
            states = {row.state if row else None, memo.state if memo else None}
            if "ABORTED" in states:
                return f"I4 key {key} can never be answered: its only id is aborted"
    return None


def _uneven(world: World) -> str | None:
    world.time += _LATER
    see_clock(world)
    repair(world)
    setting, keys = world.setting, _keys(world)
    left = scripts.take_back(setting, keys, scripts.read_clock(world, world.redises[0]))
    for flight, row in enumerate(world.stock):
        held = scripts.taken(setting, left, flight) - left.seats[flight].sold
        if held:
            return f"I6 at rest flight {flight}: {held} held by nobody for ever"
        seats = left.seats[flight]
        if (seats.sold, seats.limit) != (row.sold, row.limit):
            return f"I11 at rest flight {flight}: Redis {seats}, Postgres {row}"
    return None
