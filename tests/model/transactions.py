"""The transactions on Postgres, each as one step on a copy of the world.

They stand for app/hold/journal/store.py and its callers. E(e), the proof that Redis's data is still that of
epoch e, is `_is_over` asked first: the row locks of the real statements make the whole atomic.
"""

from typing import Final

from tests.model.world import ENDED, Row, Rows, World, put

_PLACEHOLDER_TIMES: Final = 0  # of an aborted id that nobody was ever told of: it moves no cut


def _is_over(world: World, epoch: int) -> bool:
    return world.epoch != epoch and not world.flags.no_epoch_check


def _is_proven(world: World, epoch: int) -> bool:
    """E(e)."""
    if world.flags.no_epoch_check:
        return True
    return world.epoch == epoch and world.mode == "redis"


def _committed_under(world: World, epoch: int) -> None:
    if world.epoch != epoch:
        world.accuse("I10 committed under an epoch that is over")


def proves(world: World, epoch: int) -> bool:
    return _is_proven(world, epoch)


def insert(
    world: World, epoch: int, hold: int, granted: int, expires: int, state: str = "HELD"
) -> str:
    """NEW, EPOCH, or the state of the row that was there."""
    if not _is_proven(world, epoch):
        return "EPOCH"
    row = world.journal[hold]
    if row is not None:
        return row.state
    new = Row(state, epoch, granted, expires, 1, expires)
    world.journal = put(world.journal, hold, new)
    _committed_under(world, epoch)
    return "NEW"


def confirm(
    world: World, epoch: int, hold: int, fence: int, *, without_pin: bool = False
) -> tuple[str, Rows]:
    """HELD → CONFIRMED under its fence, then the guard. DONE and SAME come with the rows."""
    flags = world.flags
    if without_pin:
        is_allowed = world.mode != "redis" and (flags.book_any_rebuild or world.epoch == epoch)
        if not (is_allowed or flags.book_any_mode):
            return "EPOCH", ()
    elif not _is_proven(world, epoch):
        return "EPOCH", ()
    row = world.journal[hold]
    if row is None:
        return "MISSING", ()
    if row.state == "CONFIRMED":
        return "SAME", world.rows(hold)
    if row.state != "HELD" and not (flags.no_state_where and row.state != "ABORTED"):
        return row.state, ()
    if not without_pin and row.fence != fence and not flags.no_fence_where:
        return "FENCE", ()
    if world.bookings[hold]:
        return "BOOKED", ()  # the booking's id follows from the hold's, and is taken
    for flight in world.lines(hold):
        stock = world.stock[flight]
        if (
            stock.sold + 1 > (stock.ceiling if flags.ceiling else stock.limit)
            and not flags.no_guard
        ):
            return "GUARD", ()
    for flight in world.lines(hold):
        stock = world.stock[flight]
        sold = stock._replace(sold=stock.sold + 1, version=stock.version + 1)
        world.stock = put(world.stock, flight, sold)
    world.journal = put(world.journal, hold, row._replace(state="CONFIRMED"))
    world.bookings = put(world.bookings, hold, 1)
    if not without_pin:
        _committed_under(world, epoch)
    return "DONE", world.rows(hold)


def settle(world: World, epoch: int, hold: int) -> tuple[str, int]:
    """The state the row finally has, and its fence, raised, where that is HELD."""
    flags = world.flags
    if _is_over(world, epoch):
        return "EPOCH", 0
    row = world.journal[hold]
    if row is None:
        abort_missing(world, epoch, hold)
        return "ABORTED", 0
    if row.state != "HELD":
        return row.state, 0
    if flags.free_held:
        world.journal = put(world.journal, hold, row._replace(state="ABORTED"))
        return "ABORTED", 0
    if not flags.redis_expiry and row.expires <= world.time + world.configuration.postgres_offset:
        world.journal = put(world.journal, hold, row._replace(state="EXPIRED"))
        return "EXPIRED", 0
    raised = row.fence + 1
    world.journal = put(world.journal, hold, row._replace(fence=raised))
    return "HELD", raised


def abort_missing(world: World, epoch: int, hold: int) -> str:
    """Nobody may promise this id any more; answers the state of the row that is there now."""
    row = world.journal[hold]
    if row is None:
        times = _PLACEHOLDER_TIMES
        row = Row("ABORTED", epoch, times, times, 0, times)
        world.journal = put(world.journal, hold, row)
    return row.state


def expire_on_word(world: World, epoch: int, hold: int) -> bool:
    """HELD → EXPIRED as Redis said in `epoch`; False, and nothing, where that is over."""
    if _is_over(world, epoch):
        return False
    row = world.journal[hold]
    if row is None:
        if world.flags.telling_aborts:
            abort_missing(world, epoch, hold)
    elif row.state == "HELD":
        world.journal = put(world.journal, hold, row._replace(state="EXPIRED"))
    return True


def bump(world: World) -> int:
    """Ends every earlier epoch; answers the cut."""
    flags, configuration = world.flags, world.configuration
    world.epoch += 1
    world.mode = "rebuilding"
    grants = [
        row.granted
        for row in world.journal
        if row is not None and (row.state == "HELD" or not flags.cut_held_only)
    ]
    clock = world.time + configuration.postgres_offset
    if flags.cut_db_clock:
        cut = clock
    elif flags.cut_any:
        cut = max([world.cut, *grants])
    else:
        held = [row.granted for row in world.journal if row is not None and row.state == "HELD"]
        cut = max([*held, clock])
    world.cut = cut if not flags.cut_held_only else max(grants, default=0)
    if not flags.no_cut:
        world.journal = tuple(
            row._replace(state="EXPIRED")
            if row is not None and row.state == "HELD" and row.expires <= world.cut
            else row
            for row in world.journal
        )
    return world.cut


def answered(world: World, key: int) -> tuple[int, Row] | None:
    """What the journal says this key was answered, if it was."""
    for hold in world.configuration.keys[key]:
        row = world.journal[hold]
        if row is None:
            return None
        if row.state != "ABORTED":
            return hold, row
    return None


def has_ended(state: str) -> bool:
    return state in ENDED
