"""Parts that turn holds into bookings: confirm, a batch of confirms, the resolver."""

from typing import Any

from tests.model import scripts, transactions
from tests.model.properties import refuse, tell_booked
from tests.model.steps import Steps, ask, call, go, learn_again
from tests.model.world import DONE, Part, Pc, Rows, World, spend

Claims = tuple[tuple[int, int, int], ...]
"""Pins of a batch: hold, the epoch it was pinned in, its fence."""


def confirm(world: World, part: int, this: Part) -> Steps:
    """Pin, transaction, finish; settle where it went wrong."""
    step, _, _, fence, rows = world.actors[part]
    if step == "pin":
        yield from _pin(world, part, this.hold)
    elif step == "ask":
        yield from _ask_journal(world, part, this.hold, fence)
    elif step in ("book", "book without pin"):
        yield from _book(world, part, this.hold, fence, without_pin=step != "book")
    elif step == "finish":
        after, _ = call(world, part, scripts.finish, this.hold, rows)
        if after is not None:
            yield f"finish({world.name(this.hold)})", go(after, part, DONE)
        elif world.flags.versions:
            yield from learn_again(world, part, "finish")
    elif step == "unpin":
        raised = fence + world.flags.abort_after_unknown
        after, _ = call(world, part, scripts.unpin, this.hold, raised)
        if after is not None:
            yield f"unpin({world.name(this.hold)}, {raised})", go(after, part, DONE)
    elif step == "settle":
        yield from _settle(world, part, this.hold)
    else:
        yield from _carry_out(world, part, this.hold, fence, rows)


def _pin(world: World, part: int, held: int) -> Steps:
    _, epoch, incarnation, *_ = world.actors[part]
    name = world.name(held)
    after, reply = call(world, part, scripts.pin, held)
    if after is None:
        yield from learn_again(world, part, "pin", "book without pin")
        return
    if reply[0] == "PINNED":
        yield (
            f"pin({name}): {reply[1]}",
            go(after, part, ("book", epoch, incarnation, reply[1], ())),
        )
    elif reply[0] == "SOLD":
        yield f"pin({name}): SOLD", go(after, part, ("book", epoch, incarnation, -1, ()))
    elif world.flags.journal_refusal:
        pc = ("ask", epoch, incarnation, reply[0], ())
        yield f"pin({name}): {reply[0]}", go(after, part, pc)
    else:
        refuse(after, held, f"pin said {reply[0]}")
        yield f"pin({name}): {reply[0]} -> refused", go(after, part, DONE)


def _ask_journal(world: World, part: int, held: int, state: str) -> Steps:
    """A refusal is a fact of the journal, read under the epoch in which Redis spoke."""
    _, epoch, *_ = world.actors[part]
    name = world.name(held)
    after = world.copy()
    if not transactions.proves(world, epoch):
        yield from learn_again(world, part, "pin", "book without pin")
        return
    if state == "EXPIRED":
        transactions.expire_on_word(after, epoch, held)
    row = after.journal[held]
    if row is None:
        yield f"journal: no {name} -> 404", go(after, part, DONE)
    elif row.state in ("CONFIRMED", "HELD"):
        yield f"journal: {name} is {row.state}, Redis says {state}", go(after, part, DONE)
    else:
        refuse(after, held, row.state)
        yield f"journal: {name} is {row.state} -> refused", go(after, part, DONE)


def _book(world: World, part: int, held: int, fence: int, *, without_pin: bool) -> Steps:
    _, epoch, incarnation, *_ = world.actors[part]
    flags, name = world.flags, world.name(held)
    giving_up: Pc = ("unpin", epoch, incarnation, fence, ())
    settling: Pc = ("settle", epoch, incarnation, fence, ())
    if world.budget.rollbacks and not without_pin:
        undone = world.copy()
        spend(undone, "rollbacks")
        pc = settling if flags.fence_raise else giving_up
        yield f"book {name}: rolled back", go(undone, part, pc)
    after = world.copy()
    state, rows = transactions.confirm(after, epoch, held, fence, without_pin=without_pin)
    if state == "EPOCH":
        yield from learn_again(world, part, "pin", "book without pin")
        return
    if world.budget.unknowns and state == "DONE":
        pc = settling if flags.settle_unknown else DONE
        pc = giving_up if flags.abort_after_unknown else pc
        lost = after.copy()
        spend(lost, "unknowns")
        yield f"book {name}: committed, answer lost", go(lost, part, pc)
        late = world.copy()
        spend(late, "unknowns")
        late.inflight = (*world.inflight, (held, epoch, fence))
        if not without_pin:
            yield f"book {name}: on its way, its sender goes on", go(late, part, pc)
    if state in ("DONE", "SAME"):
        tell_booked(after, held)
        yield (
            f"book {name}: {state} -> 201",
            go(after, part, ("finish", epoch, incarnation, 0, rows)),
        )
    elif state == "FENCE":
        pc = settling if flags.fence_raise else DONE
        yield f"book {name}: the fence has moved", go(after, part, pc)
    else:
        yield f"book {name}: {state}", _not_booked(after, part, held, state)


def _not_booked(after: World, part: int, held: int, state: str) -> World:
    if state in ("GUARD", "BOOKED"):
        if not after.configuration.guard_only:
            after.accuse(f"I3 {after.name(held)} won its journal row and met {state}")
    else:
        refuse(after, held, state)
    return go(after, part, DONE)


def _settle(world: World, part: int, held: int) -> Steps:
    _, epoch, incarnation, *_ = world.actors[part]
    after = world.copy()
    state, fence = transactions.settle(after, epoch, held)
    if state != "EPOCH":
        rows = after.rows(held) if state == "CONFIRMED" else ()
        pc = ("settled", epoch, incarnation, (state, fence), rows)
        yield f"settle {world.name(held)}: {state} {fence}", go(after, part, pc)


def _carry_out(world: World, part: int, held: int, settled: tuple[str, int], rows: Rows) -> Steps:
    """Makes Redis agree with what settling found."""
    state, fence = settled
    script: scripts.Script
    arguments: tuple[Any, ...]
    if state == "HELD":
        script, arguments = scripts.unpin, (fence,)
    elif state == "CONFIRMED":
        script, arguments = scripts.finish, (rows,)
    else:
        script, arguments = scripts.end, (state,)
    after, _ = call(world, part, script, held, *arguments)
    if after is not None:
        yield f"{world.name(held)} is settled in Redis: {state}", go(after, part, DONE)


def resolve(world: World, part: int, this: Part) -> Steps:
    """The resolver: whatever stays pinned, by anyone, is settled."""
    step, epoch, _, settled, rows = world.actors[part]
    if step == "settle":
        redis = ask(world, part)
        if redis is None:
            return
        memo = scripts.keys_of(world.setting, redis, epoch).memos[this.hold]
        if memo is not None and (memo.state == "PINNED" or not world.flags.redis_expiry):
            yield from _settle(world, part, this.hold)
    else:
        yield from _carry_out(world, part, this.hold, settled, rows)


def book_together(world: World, part: int, this: Part) -> Steps:
    """Bookings that came together, in one transaction: all or nothing.

    Where one item is stopped, nothing of the batch is committed and each goes by itself. An unknown
    commit is unknown for every item: each is settled by itself.
    """
    step, epoch, incarnation, fences, left = world.actors[part]
    if step == "pin":
        yield from _pin_next(world, part, this, fences, left)
    elif step == "book":
        yield from _book_all(world, part, fences)
    elif step == "one":
        yield from _book_one(world, part, fences, left)
    elif step == "finish":
        after, _ = call(world, part, scripts.finish, *left[0])
        if after is not None:
            pc = ("finish", epoch, incarnation, (), left[1:]) if left[1:] else DONE
            yield f"finish({world.name(left[0][0])})", go(after, part, pc)
        else:
            yield from learn_again(world, part, "finish")
    elif step == "settle":
        after = world.copy()
        state, fence = transactions.settle(after, epoch, left[0])
        if state != "EPOCH":
            pc = ("carry out", epoch, incarnation, (state, fence, after.rows(left[0])), left)
            yield f"settle {world.name(left[0])}: {state}", go(after, part, pc)
    else:
        state, fence, rows = fences
        following = ("settle", epoch, incarnation, (), left[1:]) if left[1:] else DONE
        for label, after in _carry_out(world, part, left[0], (state, fence), rows):
            yield label, go(after, part, following)


def _pin_next(world: World, part: int, this: Part, claims: Claims, left: tuple[int, ...]) -> Steps:
    """One call may pin them all: that is one of the orders in which these come."""
    _, epoch, incarnation, *_ = world.actors[part]
    left = left or this.several[len(claims) :]
    after, reply = call(world, part, scripts.pin, left[0])
    if after is None:
        yield from learn_again(world, part, "pin")
        return
    if reply[0] == "PINNED":
        claims = (*claims, (left[0], epoch, reply[1]))
    if left[1:]:
        pc: Pc = ("pin", epoch, incarnation, claims, left[1:])
    else:
        pc = ("book", epoch, incarnation, claims, ()) if claims else DONE
    yield f"pin({world.name(left[0])}): {reply[0]}", go(after, part, pc)


def _book_all(world: World, part: int, claims: Claims) -> Steps:
    _, epoch, incarnation, *_ = world.actors[part]
    flags = world.flags
    alone: Pc = ("one", epoch, incarnation, claims, ())
    if flags.batch_one_proof:
        claims = tuple((held, epoch, fence) for held, _, fence in claims)
    elif len({claim[1] for claim in claims}) > 1:
        yield "pins of several epochs do not go together", go(world.copy(), part, alone)
        return
    after = world.copy()
    sold: list[tuple[int, Rows]] = []
    states = []
    for held, proven, fence in claims:
        state, rows = transactions.confirm(after, proven, held, fence)
        states.append(state)
        if state in ("DONE", "SAME"):
            sold.append((held, rows))
        elif flags.batch_all_or_nothing:
            break
    if "EPOCH" in states:
        return
    if flags.batch_all_or_nothing and len(sold) < len(claims):
        after = world.copy()
        if flags.batch_all_done and states[0] == "DONE":
            _tell_booked(after, [claim[0] for claim in claims])
        yield f"one transaction: {states}, undone", go(after, part, alone)
        return
    if world.budget.unknowns:
        yield from _unknown_together(world, after, part, [claim[0] for claim in claims])
    _tell_booked(after, [held for held, _ in sold])
    following: Pc = ("finish", epoch, incarnation, (), tuple(sold)) if sold else DONE
    yield f"one transaction: {states} -> 201", go(after, part, following)


def _unknown_together(world: World, after: World, part: int, held: list[int]) -> Steps:
    _, epoch, incarnation, *_ = world.actors[part]
    settling: Pc = ("settle", epoch, incarnation, (), tuple(held))
    for how, outcome in (("committed", after.copy()), ("undone", world.copy())):
        spend(outcome, "unknowns")
        yield f"one transaction: {how}, answer lost", go(outcome, part, settling)


def _tell_booked(after: World, held: list[int]) -> None:
    for hold in held:
        tell_booked(after, hold)


def _book_one(world: World, part: int, claims: Claims, sold: tuple[tuple[int, Rows], ...]) -> Steps:
    _, epoch, incarnation, *_ = world.actors[part]
    (held, proven, fence), *left = claims
    after = world.copy()
    state, rows = transactions.confirm(after, proven, held, fence)
    if state in ("DONE", "SAME"):
        tell_booked(after, held)
        sold = (*sold, (held, rows))
    elif state in ("GUARD", "BOOKED"):
        after.accuse(f"I3 {world.name(held)} won its journal row and met {state}")
    elif state not in ("FENCE", "EPOCH"):  # those two pin again: the client's retry does
        refuse(after, held, state)
    if left:
        pc: Pc = ("one", epoch, incarnation, tuple(left), sold)
    else:
        pc = ("finish", epoch, incarnation, (), sold) if sold else DONE
    yield f"book {world.name(held)} by itself: {state}", go(after, part, pc)
