"""The hold scripts: each takes a Redis, its time and an epoch, and returns a new Redis with its reply.

They model app/hold/redis/lua/*.lua; a reply of EPOCH means that the script did nothing.
"""

from collections.abc import Callable
from typing import Any

from tests.model.world import (
    LIVE,
    Keys,
    Memo,
    Redis,
    Row,
    Rows,
    Seats,
    Setting,
    Stock,
    World,
    no_keys,
    put,
)

Reply = tuple[Any, ...]
Answer = tuple[Redis, Reply]
Script = Callable[..., Answer]

_EPOCH: Reply = ("EPOCH",)
_OK: Reply = ("OK",)


def read_clock(world: World, redis: Redis) -> int:
    return max(world.time + redis.offset, redis.clock)


def number(setting: Setting, epoch: int) -> int:
    """The number in the names of the epoch's Redis keys."""
    return epoch if setting.flags.keys_by_epoch else 0


def keys_of(setting: Setting, redis: Redis, epoch: int) -> Keys:
    wanted = number(setting, epoch)
    for epoch_number, keys in redis.keys:
        if epoch_number == wanted:
            return keys
    conf = setting.configuration
    return no_keys(len(conf.limits), len(conf.holds))


def with_keys(setting: Setting, redis: Redis, epoch: int, keys: Keys) -> Redis:
    wanted = number(setting, epoch)
    others = [pair for pair in redis.keys if pair[0] != wanted]
    return redis._replace(keys=tuple(sorted([*others, (wanted, keys)], key=_first)))


def _first(pair: tuple[int, Keys]) -> int:
    return pair[0]


def taken(setting: Setting, keys: Keys, flight: int) -> int:
    holds = setting.configuration.holds
    held = sum(
        memo is not None and memo.state in LIVE and flight in holds[hold][1]
        for hold, memo in enumerate(keys.memos)
    )
    return keys.seats[flight].sold + held


def reclaim(setting: Setting, keys: Keys, now: int) -> Keys:
    """Reclaim every expired hold; its id waits in `ended` until the journal has it."""
    memos, ended = keys.memos, keys.ended
    for hold, memo in enumerate(memos):
        if memo is None or memo.expires > now:
            continue
        if memo.state == "HELD" or (setting.flags.key_ttl and memo.state == "PINNED"):
            memos = put(memos, hold, memo._replace(state="EXPIRED", extended=0))
            ended |= {hold}
    return keys if memos is keys.memos else keys._replace(memos=memos, ended=ended)


def _is_wrong(setting: Setting, redis: Redis, epoch: int) -> bool:
    return redis.epoch != epoch and not setting.flags.no_epoch_check


def _saved(setting: Setting, redis: Redis, epoch: int, old: Keys, new: Keys, now: int) -> Redis:
    """Redis with the new keys. If a hold was reclaimed, the clock never reads an earlier time again."""
    if new is old:
        return redis
    if setting.flags.ratchet and new.ended - old.ended:
        redis = _no_earlier(setting, redis, now)
    return with_keys(setting, redis, epoch, new)


def place(setting: Setting, redis: Redis, now: int, epoch: int, hold: int) -> Answer:
    if _is_wrong(setting, redis, epoch):
        return redis, _EPOCH
    keys = keys_of(setting, redis, epoch)
    memo = keys.memos[hold]
    if memo is not None:
        state = "EXPIRED" if memo.state == "HELD" and memo.expires <= now else memo.state
        return redis, ("MEMO", state, memo.granted, memo.expires)
    left = reclaim(setting, keys, now)
    conf, flags = setting.configuration, setting.flags
    mark = hold if flags.mark_by_id else conf.key_of(hold)
    for flight in conf.lines(hold):
        if taken(setting, left, flight) + 1 > left.seats[flight].limit:
            is_marked = mark in left.marks and not flags.mark_none
            is_sure = not is_marked and (left.whole or flags.always_whole)
            return _saved(setting, redis, epoch, keys, left, now), ("FULL", is_sure)
    memos = put(left.memos, hold, Memo("HELD", now + conf.ttl, 1, now, 0))
    new = left._replace(
        memos=memos, marks=left.marks | {mark} if flags.full_when_sure else left.marks
    )
    redis = _saved(setting, redis, epoch, keys, new, now)
    return _no_earlier(setting, redis, now), ("GRANTED", "HELD", now, now + conf.ttl)


def _no_earlier(setting: Setting, redis: Redis, now: int) -> Redis:
    """The ratchet of the clock; kept only in worlds whose clock may go back: elsewhere it only adds states."""
    if "back" not in setting.configuration.faults:
        return redis
    return redis._replace(clock=max(redis.clock, now))


def _said(setting: Setting, redis: Redis, now: int) -> Redis:
    """A client was answered that a hold has expired, so the clock must not go back behind that."""
    return _no_earlier(setting, redis, now) if setting.flags.ratchet_says else redis


def pin(setting: Setting, redis: Redis, now: int, epoch: int, hold: int) -> Answer:
    if _is_wrong(setting, redis, epoch):
        return redis, _EPOCH
    keys = keys_of(setting, redis, epoch)
    memo = keys.memos[hold]
    if memo is None:
        return redis, ("MISSING",)
    if memo.state == "HELD" and memo.expires <= now:
        ended = keys._replace(
            memos=put(keys.memos, hold, memo._replace(state="EXPIRED", extended=0)),
            ended=keys.ended | {hold},
        )
        return _saved(setting, redis, epoch, keys, ended, now), ("EXPIRED",)
    if memo.state == "HELD":
        pinned = keys._replace(memos=put(keys.memos, hold, memo._replace(state="PINNED")))
        return with_keys(setting, redis, epoch, pinned), ("PINNED", memo.token)
    if memo.state == "PINNED":
        return redis, ("PINNED", memo.token)
    return redis, (memo.state,)


def unpin(setting: Setting, redis: Redis, now: int, epoch: int, hold: int, token: int) -> Answer:
    """`token`: the hold's fencing token, which was raised in the journal and committed there."""
    if _is_wrong(setting, redis, epoch):
        return redis, _EPOCH
    flags = setting.flags
    keys = keys_of(setting, redis, epoch)
    memo = keys.memos[hold]
    if memo is None or memo.state not in (("PINNED",) if flags.unpin_pinned_only else LIVE):
        return redis, _OK
    is_raised = token > memo.token or (not flags.token_raise and token == memo.token)
    if not (is_raised or flags.unpin_any_token):
        return redis, _OK
    new = keys._replace(memos=put(keys.memos, hold, memo._replace(state="HELD", token=token)))
    return with_keys(setting, redis, epoch, new), _OK


def end(setting: Setting, redis: Redis, now: int, epoch: int, hold: int, state: str) -> Answer:
    """Leaves a tombstone even for an unknown hold; never undoes a sale."""
    if _is_wrong(setting, redis, epoch):
        return redis, _EPOCH
    new = ended_keys(setting, keys_of(setting, redis, epoch), hold, state)
    return with_keys(setting, redis, epoch, new), _OK


def ended_keys(setting: Setting, keys: Keys, hold: int, state: str) -> Keys:
    memo = keys.memos[hold]
    if memo is not None and memo.state == "SOLD":
        return keys
    tombstone = Memo(state, 0, 0, 0, 0) if memo is None else memo._replace(state=state, extended=0)
    kept = None if setting.flags.no_tombstone else tombstone
    return keys._replace(memos=put(keys.memos, hold, kept), ended=keys.ended - {hold})


def apply(setting: Setting, redis: Redis, now: int, epoch: int, rows: Rows) -> Answer:
    if _is_wrong(setting, redis, epoch):
        return redis, _EPOCH
    keys = keys_of(setting, redis, epoch)
    new = applied(keys, rows)
    return redis if new is keys else with_keys(setting, redis, epoch, new), _OK


def applied(keys: Keys, rows: Rows) -> Keys:
    """The keys with each row applied that is newer than the one there."""
    for flight, row in rows:
        if row.version > keys.seats[flight].version:
            newer = Seats(row.limit, row.sold, row.version)
            keys = keys._replace(seats=put(keys.seats, flight, newer))
    return keys


def finish(setting: Setting, redis: Redis, now: int, epoch: int, hold: int, rows: Rows) -> Answer:
    """`rows` as the booking returned them, or as they were read together with it."""
    if _is_wrong(setting, redis, epoch):
        return redis, _EPOCH
    new = finished_keys(setting, keys_of(setting, redis, epoch), hold, rows)
    return with_keys(setting, redis, epoch, new), _OK


def finished_keys(setting: Setting, keys: Keys, hold: int, rows: Rows) -> Keys:
    flags, memo = setting.flags, keys.memos[hold]
    if flags.versions:
        if not flags.sold_without_rows:
            keys = applied(keys, rows)
    elif memo is not None and memo.state in LIVE:  # without versions: one more, once
        for flight in setting.configuration.lines(hold):
            seats = keys.seats[flight]
            keys = keys._replace(seats=put(keys.seats, flight, seats._replace(sold=seats.sold + 1)))
    if memo is None:
        memo = Memo("SOLD", 0, 0, 0, 0) if flags.finish_marks_unknown else None
    elif memo.state != "SOLD":
        memo = memo._replace(state="SOLD", extended=0)
    return keys._replace(memos=put(keys.memos, hold, memo))


def subtract(setting: Setting, redis: Redis, now: int, epoch: int, flight: int) -> Answer:
    """A cancellation without versions: one less, once for each call."""
    if _is_wrong(setting, redis, epoch):
        return redis, _EPOCH
    keys = keys_of(setting, redis, epoch)
    seats = keys.seats[flight]
    new = keys._replace(seats=put(keys.seats, flight, seats._replace(sold=seats.sold - 1)))
    return with_keys(setting, redis, epoch, new), _OK


def extend(setting: Setting, redis: Redis, now: int, epoch: int, hold: int) -> Answer:
    if _is_wrong(setting, redis, epoch):
        return redis, _EPOCH
    keys = keys_of(setting, redis, epoch)
    memo = keys.memos[hold]
    if memo is None:
        return redis, ("MISSING",)
    if memo.state != "HELD":
        return redis, (memo.state,)
    if memo.expires <= now:
        if setting.flags.extend_only_says:
            return _said(setting, redis, now), ("EXPIRED",)
        ended = keys._replace(
            memos=put(keys.memos, hold, memo._replace(state="EXPIRED", extended=0)),
            ended=keys.ended | {hold},
        )
        return _saved(setting, redis, epoch, keys, ended, now), ("EXPIRED",)
    if memo.extended:
        return redis, ("OK", memo.expires)
    expires = memo.expires + setting.configuration.ttl
    later = memo._replace(expires=expires, extended=1)
    new = keys._replace(memos=put(keys.memos, hold, later))
    return with_keys(setting, redis, epoch, new), ("OK", expires)


def read_memos(setting: Setting, redis: Redis, now: int, epoch: int, hold: int) -> Answer:
    """Read the memos; writes nothing but the clock, if a hold has expired."""
    if _is_wrong(setting, redis, epoch):
        return redis, _EPOCH
    memo = keys_of(setting, redis, epoch).memos[hold]
    if memo is None:
        return redis, ("MISSING",)
    if memo.state == "HELD" and memo.expires <= now:
        return _said(setting, redis, now), ("EXPIRED",)
    return redis, (memo.state,)


def reclaim_all(setting: Setting, redis: Redis, now: int, epoch: int) -> Answer:
    if _is_wrong(setting, redis, epoch):
        return redis, _EPOCH
    keys = keys_of(setting, redis, epoch)
    return _saved(setting, redis, epoch, keys, reclaim(setting, keys, now), now), _OK


def forget_ended(setting: Setting, redis: Redis, now: int, epoch: int, hold: int) -> Answer:
    """A plain command on a key of the epoch, without an epoch check."""
    keys = keys_of(setting, redis, epoch)
    return with_keys(setting, redis, epoch, keys._replace(ended=keys.ended - {hold})), _OK


def fill(setting: Setting, redis: Redis, now: int, epoch: int, marks: frozenset[int]) -> Answer:
    """Set the bits of keys that the journal has answered; from now on the filter is complete."""
    if _is_wrong(setting, redis, epoch):
        return redis, _EPOCH
    keys = keys_of(setting, redis, epoch)
    new = keys._replace(marks=keys.marks | marks, whole=True)
    return with_keys(setting, redis, epoch, new), _OK


def loaded(journal: tuple[Row | None, ...]) -> tuple[Memo | None, ...]:
    """The memos of the rows that are HELD."""
    return tuple(
        Memo("HELD", row.expires, row.token, row.granted, int(row.expires != row.first))
        if row is not None and row.state == "HELD"
        else None
        for row in journal
    )


def stocked(stock: tuple[Stock, ...]) -> tuple[Seats, ...]:
    return tuple(Seats(row.limit, row.sold, row.version) for row in stock)
