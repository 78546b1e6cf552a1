"""Parts that change holds, bookings and limits: release, extend, cancel, PATCH, ceiling reducer, sync."""

from tests.model import scripts, transactions
from tests.model.steps import Steps, ask, call, go, learn_again
from tests.model.world import DONE, Part, Rows, World, put


def release(world: World, part: int, this: Part) -> Steps:
    """Release: the journal first, in any epoch; then the script."""
    held, name = this.hold, world.name(this.hold)
    step, epoch, incarnation, state = world.actors[part]
    if step == "journal":
        row = world.journal[held]
        if row is None:
            return
        after = world.copy()
        if row.state == "HELD":
            after.journal = put(after.journal, held, row._replace(state="RELEASED"))
            after.released = put(after.released, held, True)
        if row.state == "CONFIRMED":
            yield f"release {name}: it is booked -> 409", go(after, part, DONE)
        else:
            was = "RELEASED" if row.state == "HELD" else row.state
            yield f"release {name}: {was}", go(after, part, ("end", epoch, incarnation, was))
    else:
        after_end, _ = call(world, part, scripts.end, held, state)
        if after_end is None:
            yield from learn_again(world, part, "end")
            return
        redis = ask(after_end, part)
        assert redis is not None, "the script ran there"
        if state == "RELEASED":
            after_end.released_in = put(after_end.released_in, held, redis.epoch or 0)
        yield f"end({name}) -> 204", go(after_end, part, DONE)


def extend(world: World, part: int, this: Part) -> Steps:
    """Extend: Redis first, then the journal. An extension that stops in between was never promised."""
    held, name = this.hold, world.name(this.hold)
    step, epoch, incarnation, expires = world.actors[part]
    row = world.journal[held]
    if step == "journal first":
        if not transactions.proves(world, epoch) or row is None or row.state != "HELD":
            return
        if row.expires == row.first:
            later = row.expires + world.configuration.ttl
            after = world.copy()
            after.journal = put(after.journal, held, row._replace(expires=later))
            pc = ("extend", epoch, incarnation, 0)
            yield f"extend {name}: journal until {later}", go(after, part, pc)
    elif step == "extend":
        yield from _extend_in_redis(world, part, held)
    else:
        if not transactions.proves(world, epoch) and not world.flags.no_extend_epoch:
            yield from learn_again(world, part, "extend")
            return
        after = world.copy()
        if row is None or row.state != "HELD":
            yield f"extend {name}: it has ended", go(after, part, DONE)
            return
        after.journal = put(after.journal, held, row._replace(expires=expires))
        if world.epoch != epoch:
            after.accuse("I10 committed under an epoch that is over")
        _acknowledge_extension(after, held, expires)
        yield f"extend {name}: until {expires} -> 200", go(after, part, DONE)


def _extend_in_redis(world: World, part: int, held: int) -> Steps:
    _, epoch, incarnation, _ = world.actors[part]
    name = world.name(held)
    after, reply = call(world, part, scripts.extend, held)
    if after is None:
        yield from learn_again(world, part, "extend")
    elif reply[0] != "OK":
        yield f"extend({name}): {reply[0]}", go(after, part, DONE)
    elif world.flags.extend_redis_first:
        pc = ("promise", epoch, incarnation, reply[1])
        yield f"extend({name}): until {reply[1]}", go(after, part, pc)
    else:
        _acknowledge_extension(after, held, reply[1])
        yield f"extend({name}): until {reply[1]} -> 200", go(after, part, DONE)


def _acknowledge_extension(after: World, held: int, until: int) -> None:
    if not after.released[held]:
        after.promised = put(after.promised, held, until)


def cancel(world: World, part: int, this: Part) -> Steps:
    """Cancel: raises the version of the inventory row, then applies that row to Redis."""
    held, name = this.hold, world.name(this.hold)
    step, epoch, incarnation, rows = world.actors[part]
    if step == "journal":
        if world.bookings[held] != 1:
            return
        after = world.copy()
        after.bookings = put(after.bookings, held, 2)
        after.released = put(after.released, held, True)
        for flight in world.lines(held):
            stock = after.stock[flight]
            fewer = stock._replace(sold=stock.sold - 1, version=stock.version + 1)
            after.stock = put(after.stock, flight, fewer)
        pc = ("apply", epoch, incarnation, after.rows(held))
        yield f"cancel {name}: committed", go(after, part, pc)
    elif world.flags.versions:
        yield from _apply(world, part, rows)
    else:
        after_call, _ = call(world, part, scripts.subtract, rows[0][0])
        if after_call is None:
            yield from learn_again(world, part, "apply")
        else:
            yield f"cancel {name}: one less in Redis", go(after_call, part, DONE)


def _apply(world: World, part: int, rows: Rows) -> Steps:
    after, _ = call(world, part, scripts.apply, rows)
    if after is None:
        yield from learn_again(world, part, "apply")
    else:
        yield f"apply {[(flight, tuple(row)) for flight, row in rows]}", go(after, part, DONE)


def patch(world: World, part: int, this: Part) -> Steps:
    """PATCH of a limit, in PostgreSQL first; it never lowers the ceiling."""
    flight = this.flight
    step, epoch, incarnation, rows = world.actors[part]
    if step != "journal":
        yield from _apply(world, part, rows)
        return
    after, stock = world.copy(), world.stock[flight]
    if not world.flags.ceiling and stock.sold > this.limit:
        yield "PATCH: the constraint refuses", go(after, part, DONE)
        return
    ceiling = max(stock.ceiling, this.limit)
    changed = stock._replace(limit=this.limit, ceiling=ceiling, version=stock.version + 1)
    after.stock = put(after.stock, flight, changed)
    pc = ("apply", epoch, incarnation, ((flight, changed),))
    yield f"PATCH flight {flight}: limit {this.limit}", go(after, part, pc)


def reduce_ceiling(world: World, part: int, this: Part) -> Steps:
    """The ceiling reducer: lowers the ceiling to what is taken, unless the row changed since Redis was read."""
    flight = this.flight
    step, epoch, incarnation, seen = world.actors[part]
    if step == "look":
        redis = ask(world, part)
        if redis is None or redis.epoch != epoch:
            return
        keys = scripts.keys_of(world.setting, redis, epoch)
        count = scripts.taken(world.setting, keys, flight)
        if world.flags.reduce_counts_ended:  # a rebuild may still find them HELD
            count += sum(flight in world.lines(held) for held in keys.ended)
        found = (count, keys.seats[flight].version)
        pc = ("reduce_ceiling", epoch, incarnation, found)
        yield f"reduce_ceiling: {found[0]} taken at version {found[1]}", go(world.copy(), part, pc)
        return
    after, stock = world.copy(), world.stock[flight]
    if transactions.proves(world, epoch) and stock.version == seen[1]:
        ceiling = max(stock.limit, seen[0])
        after.stock = put(after.stock, flight, stock._replace(ceiling=ceiling))
        yield f"reduce_ceiling: ceiling {ceiling}", go(after, part, DONE)


def sync(world: World, part: int, this: Part) -> Steps:
    """The sync: applies changed inventory rows to Redis without end, each version once.

    In a new epoch it starts again from the beginning: the Redis it wrote to before may be an old primary.
    """
    step, epoch, incarnation, rows = world.actors[part]
    versions, followed_in = world.followed
    if step == "look":
        rewinds = world.flags.sync_rewinds and followed_in != epoch
        new = tuple(
            (flight, row)
            for flight, row in enumerate(world.stock)
            if row.version > versions[flight] or (rewinds and row.version)
        )
        if new:
            pc = ("apply", epoch, incarnation, new)
            yield f"the sync finds {len(new)} changed rows", go(world.copy(), part, pc)
        else:
            yield from learn_again(world, part, "look")
        return
    after, _ = call(world, part, scripts.apply, rows)
    if after is None:
        yield from learn_again(world, part, "apply")
        return
    moved = dict(enumerate(versions)) | {flight: row.version for flight, row in rows}
    after.followed = (tuple(moved[flight] for flight in sorted(moved)), epoch)
    yield "the sync applies them", go(after, part, ("look", epoch, incarnation, ()))
