"""The PostgreSQL transactions, each as one step on a copy of the world.

They model app/hold/journal/store.py and its callers. E(e), the proof of the epoch, is a call of `_is_over`
at the start: the row locks of the real statements make the whole atomic.
"""

from typing import Final

from tests.model.world import ENDED, Row, Rows, World, put

_PLACEHOLDER_TIMES: Final = 0  # of an aborted id that was never answered: it moves no cut


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
    world: World, epoch: int, hold: int, token: int, *, without_pin: bool = False
) -> tuple[str, Rows]:
    """HELD → CONFIRMED under its fencing token, then the ceiling. DONE and SAME come with the rows."""
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
    if not without_pin and row.token != token and not flags.no_token_where:
        return "TOKEN", ()
    if world.bookings[hold]:
        return "BOOKED", ()  # the booking's id follows from the hold's, and is taken
    for flight in world.lines(hold):
        stock = world.stock[flight]
        if (
            stock.sold + 1 > (stock.ceiling if flags.ceiling else stock.limit)
            and not flags.no_ceiling_check
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
    """The row's final state and its fencing token; the token is raised if the state is HELD."""
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
    raised = row.token + 1
    world.journal = put(world.journal, hold, row._replace(token=raised))
    return "HELD", raised


def abort_missing(world: World, epoch: int, hold: int) -> str:
    """Write ABORTED if the id has no row, so that no writer can use it; returns the row's state."""
    row = world.journal[hold]
    if row is None:
        times = _PLACEHOLDER_TIMES
        row = Row("ABORTED", epoch, times, times, 0, times)
        world.journal = put(world.journal, hold, row)
    return row.state


def mark_expired(world: World, epoch: int, hold: int) -> bool:
    """HELD → EXPIRED, confirmed by Redis in `epoch`; does nothing and returns False if that is over."""
    if _is_over(world, epoch):
        return False
    row = world.journal[hold]
    if row is None:
        if world.flags.expiry_aborts:
            abort_missing(world, epoch, hold)
    elif row.state == "HELD":
        world.journal = put(world.journal, hold, row._replace(state="EXPIRED"))
    return True


def bump(world: World) -> int:
    """End every earlier epoch; returns the cut."""
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
    """The hold and row with which this key was answered, if it was."""
    for hold in world.configuration.keys[key]:
        row = world.journal[hold]
        if row is None:
            return None
        if row.state != "ABORTED":
            return hold, row
    return None


def has_ended(state: str) -> bool:
    return state in ENDED
