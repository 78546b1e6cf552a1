"""The invariants: what must be true in every state, as a client sees it.

I1 sold seats stay within the limit. I2, I3 acknowledged live holds and sold seats together stay within
the limit, and no such hold is refused or lost. I4 one idempotency key has one answer. I5 sold seats equal
live bookings. I6 a hold whose release was answered takes no seat again. I10 nothing is committed under an
epoch that is over.
"""

from tests.model import scripts
from tests.model.world import ENDED, LIVE, Redis, World, put


def authority(world: World) -> Redis | None:
    """The Redis that decides now: the expected incarnation, in the current epoch."""
    if world.mode != "redis":
        return None
    for redis in world.redises:
        if redis.incarnation == world.incarnation and redis.epoch == world.epoch:
            return redis
    return None


def see_clock(world: World) -> None:
    """Record the latest time that a client could see: a hold is promised while its end is later."""
    redis = authority(world)
    if redis is not None:
        world.seen = max(world.seen, scripts.read_clock(world, redis))
    if not world.setting.strict:
        world.seen = max(world.seen, world.time)


def is_promised(world: World, hold: int) -> bool:
    until = world.promised[hold]
    return until is not None and until > world.seen and not world.released[hold]


def acknowledge(world: World, key: int, hold: int, until: int, answered: int) -> None:
    """201: the hold is promised until `until`; the answer says `answered`."""
    first = world.answers[key]
    if first is None:
        world.answers = put(world.answers, key, (hold, answered))
    elif first != (hold, answered):
        was, now = world.name(first[0]), world.name(hold)
        world.accuse(
            f"I4 two answers to one key: {was} until {first[1]}, then {now} until {answered}"
        )
    if world.promised[hold] is None and not world.released[hold]:
        world.promised = put(world.promised, hold, until)


def refuse(world: World, hold: int, why: str) -> None:
    """A final refusal: 404, 409 or 410."""
    if world.configuration.constraint_only:
        return
    if is_promised(world, hold) and world.bookings[hold] == 0:
        world.accuse(f"I3 acknowledged live hold {world.name(hold)} refused: {why}")


def answer_booked(world: World, hold: int) -> None:
    """201 to a booking."""
    if world.bookings[hold] == 0:
        world.accuse(f"I5 the answer says that {world.name(hold)} is booked, and it is not")


def answer_sold_out(world: World, key: int) -> None:
    if world.answers[key] is not None:
        world.accuse(f"I4 key {key} has its answer and then gets sold_out")


def violated(world: World) -> str | None:
    if world.violation:
        return world.violation
    return _inventory(world) or _acknowledged(world)


def _inventory(world: World) -> str | None:
    constraint_only = world.configuration.constraint_only
    for flight, stock in enumerate(world.stock):
        limit = world.configuration.limits[flight]
        booked = sum(
            state == 1 and flight in world.lines(hold) for hold, state in enumerate(world.bookings)
        )
        if stock.sold != booked:
            return f"I5 sold {stock.sold} and {booked} live bookings"
        if stock.sold > limit:
            return f"I1 oversold: {stock.sold} of {limit}"
        if constraint_only:
            continue
        owed = [
            hold
            for hold, state in enumerate(world.bookings)
            if state == 0 and flight in world.lines(hold) and is_promised(world, hold)
        ]
        if stock.sold + len(owed) > limit:
            names = [world.name(hold) for hold in owed]
            return f"I2/I3 flight {flight}: {stock.sold} sold and live holds {names}, limit {limit}"
    return None


def _acknowledged(world: World) -> str | None:
    if world.configuration.constraint_only:
        return None
    for hold, row in enumerate(world.journal):
        if is_promised(world, hold):
            if row is None:
                return f"I3 acknowledged hold {world.name(hold)} is not in the journal"
            if row.state in ENDED:
                return f"I3 acknowledged live hold {world.name(hold)} was made {row.state}"
    redis = authority(world)
    if redis is None or redis.epoch is None:
        return None
    for hold, memo in enumerate(scripts.keys_of(world.setting, redis, redis.epoch).memos):
        if memo is not None and memo.state in LIVE and world.released_in[hold] == redis.epoch:
            return f"I6 released hold {world.name(hold)} lives again"
    return None
