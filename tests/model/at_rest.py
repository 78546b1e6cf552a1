"""What must be true once every client stops and only the repair jobs run; checked in every state.

The check drops all parts and all commits under way. Then a rebuild (if needed), the resolver, sweeper,
expirer and sync run to their ends. After that all promised holds can be booked, at the same time (I3);
every idempotency key gets an answer (I4); and after all holds have expired Redis and PostgreSQL count
alike, with nothing held (I6, I11).
"""

from typing import Any

from tests.model import scripts, transactions
from tests.model.properties import authority, is_promised, see_clock
from tests.model.world import LIVE, Keys, Redis, World, put

_TRIES_MAX = 4
_LATER = 50


def failure(world: World) -> str | None:
    key = (
        world.epoch, world.mode, world.incarnation, world.cut, world.stock, world.journal,
        world.bookings, tuple(_reduced(world, redis) for redis in world.redises), world.time,
        world.seen, world.promised, world.released, world.answers, world.followed,
    )  # fmt: skip
    judged = world.setting.judged
    if key not in judged:
        judged[key] = _failure(world.copy())
    return judged[key]


def _reduced(world: World, redis: Redis) -> Any:
    """The world without the parts that make no difference at rest, as a key for the cache of verdicts."""
    if redis.epoch is None:
        return redis._replace(keys=())
    keys = scripts.keys_of(world.setting, redis, redis.epoch)
    return redis._replace(keys=((0, keys._replace(marks=frozenset(), whole=True)),))


def _failure(world: World) -> str | None:
    repair(world)
    keys = _keys(world)
    left = scripts.reclaim(world.setting, keys, scripts.read_clock(world, world.redises[0]))
    for hold, memo in enumerate(left.memos):
        row = world.journal[hold]
        if memo is not None and memo.state in LIVE and (row is None or row.state != "HELD"):
            state = None if row is None else row.state
            return f"I11 Redis keeps seats for {world.name(hold)}, which is {state} in the journal"
    return _unbookable(world.copy()) or _unanswered(world) or _uneven(world)


def repair(world: World) -> None:
    """Run each repair job to its end, one after another."""
    redis = world.redises[0]
    if authority(world) is not redis:
        _rebuild(world)
    for hold in sorted(_keys(world).ended):
        transactions.mark_expired(world, world.epoch, hold)
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
    """A rebuild without interruption, so that one reading is enough."""
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
    """Apply the inventory rows whose versions the sync has not applied yet."""
    versions, epoch = world.followed
    for flight, row in enumerate(world.stock):
        is_new_epoch = epoch != world.epoch and world.flags.sync_rewinds
        if row.version > versions[flight] or is_new_epoch:
            _run(world, scripts.apply, ((flight, row),))
    world.followed = (tuple(row.version for row in world.stock), world.epoch)


def settle(world: World, hold: int) -> None:
    state, token = transactions.settle(world, world.epoch, hold)
    if state == "HELD":
        _run(world, scripts.unpin, hold, token)
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
        if is_promised(world, hold) and world.bookings[hold] == 0:
            why = _book(world, hold)
            if why:
                return f"I3 at rest live hold {world.name(hold)} cannot be booked ({why})"
    return None


def _book(world: World, hold: int) -> str | None:
    state = ""
    for _ in range(_TRIES_MAX):
        reply = _run(world, scripts.pin, hold)
        token = reply[1] if reply[0] == "PINNED" else -1
        state, rows = transactions.confirm(world, world.epoch, hold, token)
        if state in ("DONE", "SAME"):
            _run(world, scripts.finish, hold, rows)
            return None
        if state != "TOKEN":
            return f"{reply[0]}, {state}"
        settle(world, hold)
    return state


def _unanswered(world: World) -> str | None:
    """With the rule `attempts` a key always has a next attempt; without it, its only id must not be aborted."""
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
    left = scripts.reclaim(setting, keys, scripts.read_clock(world, world.redises[0]))
    for flight, row in enumerate(world.stock):
        held = scripts.taken(setting, left, flight) - left.seats[flight].sold
        if held:
            return f"I6 at rest flight {flight}: {held} seats stay held without a hold"
        seats = left.seats[flight]
        if (seats.sold, seats.limit) != (row.sold, row.limit):
            return f"I11 at rest flight {flight}: Redis {seats}, Postgres {row}"
    return None
