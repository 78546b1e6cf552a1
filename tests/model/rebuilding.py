"""Parts that restore the data of Redis: the rebuild, the discarding of old keys, the key filter's filler."""

from tests.model import scripts, transactions
from tests.model.properties import see_clock
from tests.model.steps import Steps, ask, call, go, learn_again
from tests.model.world import DONE, Keys, Memo, Part, Pc, Redis, Row, Stock, World, no_keys, put

Snapshot = tuple[tuple[Stock, ...], tuple[Row | None, ...]]


def is_broken(world: World, redis: Redis) -> bool:
    return not (
        redis.incarnation == world.incarnation
        and redis.epoch == world.epoch
        and world.mode == "redis"
    )


def rebuild(world: World, part: int, this: Part) -> Steps:
    """bump, snapshot, begin, stock, holds, flip, snapshot again, correct, open, discard."""
    step, epoch, incarnation, cut, snapshot = world.actors[part]
    if step == "bump":
        yield from _bump(world, part, this)
    elif step == "snapshot":
        read: Snapshot = (world.stock, world.journal)
        pc = ("begin", epoch, incarnation, cut, read)
        yield "rebuild: reads the snapshot", go(world.copy(), part, pc)
    elif step == "flip":
        yield from _flip(world, part)
    elif step == "again":
        read = (world.stock, world.journal)
        pc = ("correct", epoch, incarnation, cut, read)
        yield "rebuild: reads again", go(world.copy(), part, pc)
    else:
        yield from _on_redis(world, part, step, snapshot)


def _bump(world: World, part: int, this: Part) -> Steps:
    redis = world.redises[min(this.at, len(world.redises) - 1)]
    if not (is_broken(world, redis) or this.unasked):
        return
    if world.flags.load_goes_on and world.mode == "rebuilding" and redis.loading < world.epoch:
        pc: Pc = ("snapshot", world.epoch, redis.incarnation, world.cut, ())
        yield f"rebuild: continues with epoch {world.epoch}", go(world.copy(), part, pc)
    after = world.copy()
    cut = transactions.bump(after)
    pc = ("snapshot", after.epoch, redis.incarnation, cut, ())
    yield f"rebuild: epoch {after.epoch}, cut {cut}", go(after, part, pc)


def _flip(world: World, part: int) -> Steps:
    _, epoch, incarnation, cut, _ = world.actors[part]
    is_ours = world.epoch == epoch and world.mode == "rebuilding"
    if world.flags.flip_where and not is_ours:
        return
    after = world.copy()
    after.mode, after.incarnation, after.epoch = "redis", incarnation, epoch
    see_clock(after)
    if epoch < world.epoch:
        after.accuse("I10 the epoch went backwards")
    pc = ("again", epoch, incarnation, cut, ()) if world.flags.flip_reread else DONE
    yield f"rebuild {epoch}: mode redis", go(after, part, pc)


def _on_redis(world: World, part: int, step: str, snapshot: Snapshot) -> Steps:
    """A step on Redis. A restart of Redis ends the attempt: its connections accept one incarnation only."""
    _, epoch, incarnation, cut, _ = world.actors[part]
    flags = world.flags
    index = next((i for i, r in enumerate(world.redises) if r.incarnation == incarnation), None)
    if index is None:
        return
    after, redis = world.copy(), world.redises[index]
    if step != "begin" and step != "discard" and flags.load_lease and redis.loading != epoch:
        return
    following: Pc
    if step == "begin":
        if flags.load_lease and redis.loading >= epoch:
            return
        redis = _begun(world, redis, epoch, snapshot)
        following = ("stock", epoch, incarnation, cut, snapshot)
    elif step == "stock":
        keys = scripts.keys_of(world.setting, redis, epoch)
        keys = keys._replace(seats=scripts.stocked(snapshot[0]))
        redis = scripts.with_keys(world.setting, redis, epoch, keys)
        following = ("holds", epoch, incarnation, cut, snapshot)
    elif step == "holds":
        keys = scripts.keys_of(world.setting, redis, epoch)
        keys = keys._replace(memos=scripts.loaded(snapshot[1]))
        redis = scripts.with_keys(world.setting, redis, epoch, keys)
        following = ("flip" if flags.flip_reread else "open", epoch, incarnation, cut, snapshot)
        following = (*following[:4], ()) if flags.flip_reread else following
    elif step == "correct":
        keys = _corrected(world, scripts.keys_of(world.setting, redis, epoch), snapshot)
        redis = scripts.with_keys(world.setting, redis, epoch, keys)
        following = ("open", epoch, incarnation, _latest(cut, snapshot), ())
    elif step == "open":
        redis = redis._replace(epoch=epoch, clock=cut)
        following = ("discard" if flags.flip_reread else "flip", epoch, incarnation, cut, ())
        if flags.flip_reread and not flags.keys_by_epoch:
            following = DONE
    else:
        kept = tuple(p for p in redis.keys if p[0] >= epoch and not _is_other(world, p[0], epoch))
        redis = redis._replace(keys=kept)
        following = DONE
    after.redises = put(after.redises, index, redis)
    see_clock(after)
    yield f"rebuild {epoch}: {step}", go(after, part, following)


def _is_other(world: World, number: int, epoch: int) -> bool:
    return world.flags.discard_others and number != epoch


def _begun(world: World, redis: Redis, epoch: int, snapshot: Snapshot) -> Redis:
    flags, conf = world.flags, world.configuration
    kept = no_keys(len(conf.limits), len(conf.holds))
    rows = [row for row in snapshot[1] if row is not None and row.state != "ABORTED"]
    if flags.whole_if_none_ended:
        rows = [row for row in rows if row.state != "HELD"]
    kept = kept._replace(whole=flags.full_when_sure and not rows)
    if redis.epoch is None and flags.keys_by_epoch:  # leftovers of failed attempts must not pile up
        redis = redis._replace(keys=tuple(pair for pair in redis.keys if pair[0] > epoch))
    redis = redis._replace(loading=epoch if flags.load_lease else redis.loading)
    if flags.begin_closes or not flags.keys_by_epoch:
        redis = redis._replace(epoch=None)
    return scripts.with_keys(world.setting, redis, epoch, kept)


def _latest(cut: int, snapshot: Snapshot) -> int:
    """The latest time of a grant: the clock of the new epoch never runs behind it."""
    grants = [row.granted for row in snapshot[1] if row is not None and row.state == "HELD"]
    return max([cut, *grants])


def _corrected(world: World, keys: Keys, snapshot: Snapshot) -> Keys:
    """The keys after correction in both directions of what changed since the first reading."""
    flags = world.flags
    stock, journal = snapshot
    if not flags.one_pass_inventory:
        keys = scripts.applied(keys, tuple(enumerate(stock)))
    missing = scripts.loaded(journal)
    for hold, memo in enumerate(keys.memos):
        row = journal[hold]
        if row is not None and row.state == "HELD":
            if memo is None:
                keys = keys._replace(memos=put(keys.memos, hold, missing[hold]))
        elif memo is not None:
            keys = _no_longer_held(world, keys, hold, memo, row)
    return keys


def _no_longer_held(world: World, keys: Keys, hold: int, memo: Memo, row: Row | None) -> Keys:
    """The rows of the hold are read again, or taken from the second snapshot."""
    if not world.flags.correct_reads_each:
        state = "RELEASED" if row is None else "SOLD" if row.state == "CONFIRMED" else row.state
        return keys._replace(memos=put(keys.memos, hold, memo._replace(state=state)))
    now = world.journal[hold]
    if now is not None and now.state == "CONFIRMED":
        return scripts.finished_keys(world.setting, keys, hold, world.rows(hold))
    return scripts.ended_keys(world.setting, keys, hold, "RELEASED" if now is None else now.state)


def fill(world: World, part: int, this: Part) -> Steps:
    """The filler: sets the bit of every answered key in the open epoch; then the filter is complete."""
    step, epoch, incarnation, marks = world.actors[part]
    flags = world.flags
    if step == "read":
        redis = ask(world, part)
        if redis is None or (redis.epoch != epoch and not flags.fill_over_bump):
            yield from learn_again(world, part, "read")
            return
        found = frozenset(
            world.configuration.key_of(hold)
            for hold, row in enumerate(world.journal)
            if row is not None
            and row.state != "ABORTED"
            and (row.state == "HELD" or not flags.fill_held_only)
        )
        pc = ("mark", epoch, incarnation, found)
        yield f"the filler reads keys {sorted(found)}", go(world.copy(), part, pc)
        return
    after, _ = call(world, part, scripts.fill, marks)
    if after is not None:
        yield "the filler marks them", go(after, part, DONE)
    elif flags.fill_over_bump:
        yield from learn_again(world, part, "mark")
