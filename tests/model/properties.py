"""What must be true in every state, whatever happened: the promises of the protocol, seen from outside.

I1 what is sold stays within what may be sold. I2, I3 live holds that were acknowledged, and what is
sold, fit together, and no such hold is refused or lost. I4 one key has one answer. I5 what is sold is
what has been booked. I6 a hold whose release was told takes no seat again. I10 nothing is committed on
the word of an epoch that is over.
"""

from tests.model import scripts
from tests.model.world import ENDED, LIVE, Redis, World, put


def authority(world: World) -> Redis | None:
    """The Redis whose word counts now."""
    if world.mode != "redis":
        return None
    for redis in world.redises:
        if redis.incarnation == world.incarnation and redis.epoch == world.epoch:
            return redis
    return None


def see_clock(world: World) -> None:
    """The time that was shown to anybody: a promise is owed until then."""
    redis = authority(world)
    if redis is not None:
        world.seen = max(world.seen, scripts.read_clock(world, redis))
    if not world.setting.strict:
        world.seen = max(world.seen, world.time)


def is_promise(world: World, hold: int) -> bool:
    until = world.promised[hold]
    return until is not None and until > world.seen and not world.released[hold]


def acknowledge(world: World, key: int, hold: int, until: int, told: int) -> None:
    """201: the hold is promised until then, and the answer says `told`."""
    first = world.answers[key]
    if first is None:
        world.answers = put(world.answers, key, (hold, told))
    elif first != (hold, told):
        was, now = world.name(first[0]), world.name(hold)
        world.accuse(f"I4 two answers to one key: {was} until {first[1]}, then {now} until {told}")
    if world.promised[hold] is None and not world.released[hold]:
        world.promised = put(world.promised, hold, until)


def refuse(world: World, hold: int, why: str) -> None:
    """404, 409 or 410, for good."""
    if world.configuration.guard_only:
        return
    if is_promise(world, hold) and world.bookings[hold] == 0:
        world.accuse(f"I3 acknowledged live hold {world.name(hold)} refused: {why}")


def tell_booked(world: World, hold: int) -> None:
    """201 to a booking."""
    if world.bookings[hold] == 0:
        world.accuse(f"I5 {world.name(hold)} is told to be booked, and is not")


def say_sold_out(world: World, key: int) -> None:
    if world.answers[key] is not None:
        world.accuse(f"I4 key {key} has its answer and is told that nothing is left")


def violated(world: World) -> str | None:
    if world.violation:
        return world.violation
    return _inventory(world) or _promises(world)


def _inventory(world: World) -> str | None:
    guard_only = world.configuration.guard_only
    for flight, stock in enumerate(world.stock):
        limit = world.configuration.limits[flight]
        booked = sum(
            state == 1 and flight in world.lines(hold) for hold, state in enumerate(world.bookings)
        )
        if stock.sold != booked:
            return f"I5 sold {stock.sold} and {booked} live bookings"
        if stock.sold > limit:
            return f"I1 oversold: {stock.sold} of {limit}"
        if guard_only:
            continue
        owed = [
            hold
            for hold, state in enumerate(world.bookings)
            if state == 0 and flight in world.lines(hold) and is_promise(world, hold)
        ]
        if stock.sold + len(owed) > limit:
            names = [world.name(hold) for hold in owed]
            return f"I2/I3 flight {flight}: {stock.sold} sold and live holds {names}, limit {limit}"
    return None


def _promises(world: World) -> str | None:
    if world.configuration.guard_only:
        return None
    for hold, row in enumerate(world.journal):
        if is_promise(world, hold):
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
