"""Parts that book holds: confirm, a batch of confirms, the resolver."""

from typing import Any

from tests.model import scripts, transactions
from tests.model.properties import answer_booked, refuse
from tests.model.steps import Steps, ask, call, go, learn_again
from tests.model.world import DONE, Part, Pc, Rows, World, spend

Pins = tuple[tuple[int, int, int], ...]
"""The pins of a batch: hold, epoch of the pin, fencing token."""


def confirm(world: World, part: int, this: Part) -> Steps:
    """Pin, transaction, finish; settle if one of them failed."""
    step, _, _, token, rows = world.actors[part]
    if step == "pin":
        yield from _pin(world, part, this.hold)
    elif step == "ask":
        yield from _ask_journal(world, part, this.hold, token)
    elif step in ("book", "book without pin"):
        yield from _book(world, part, this.hold, token, without_pin=step != "book")
    elif step == "finish":
        after, _ = call(world, part, scripts.finish, this.hold, rows)
        if after is not None:
            yield f"finish({world.name(this.hold)})", go(after, part, DONE)
        elif world.flags.versions:
            yield from learn_again(world, part, "finish")
    elif step == "unpin":
        raised = token + world.flags.abort_after_unknown
        after, _ = call(world, part, scripts.unpin, this.hold, raised)
        if after is not None:
            yield f"unpin({world.name(this.hold)}, {raised})", go(after, part, DONE)
    elif step == "settle":
        yield from _settle(world, part, this.hold)
    else:
        yield from _carry_out(world, part, this.hold, token, rows)


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
        refuse(after, held, f"the pin answered {reply[0]}")
        yield f"pin({name}): {reply[0]} -> refused", go(after, part, DONE)


def _ask_journal(world: World, part: int, held: int, state: str) -> Steps:
    """Redis alone refuses nothing: the journal decides, read under the epoch of Redis's answer."""
    _, epoch, *_ = world.actors[part]
    name = world.name(held)
    after = world.copy()
    if not transactions.proves(world, epoch):
        yield from learn_again(world, part, "pin", "book without pin")
        return
    if state == "EXPIRED":
        transactions.mark_expired(after, epoch, held)
    row = after.journal[held]
    if row is None:
        yield f"journal: no {name} -> 404", go(after, part, DONE)
    elif row.state in ("CONFIRMED", "HELD"):
        yield f"journal: {name} is {row.state}, Redis says {state}", go(after, part, DONE)
    else:
        refuse(after, held, row.state)
        yield f"journal: {name} is {row.state} -> refused", go(after, part, DONE)


def _book(world: World, part: int, held: int, token: int, *, without_pin: bool) -> Steps:
    _, epoch, incarnation, *_ = world.actors[part]
    flags, name = world.flags, world.name(held)
    giving_up: Pc = ("unpin", epoch, incarnation, token, ())
    settling: Pc = ("settle", epoch, incarnation, token, ())
    if world.budget.rollbacks and not without_pin:
        undone = world.copy()
        spend(undone, "rollbacks")
        pc = settling if flags.token_raise else giving_up
        yield f"book {name}: rolled back", go(undone, part, pc)
    after = world.copy()
    state, rows = transactions.confirm(after, epoch, held, token, without_pin=without_pin)
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
        late.inflight = (*world.inflight, (held, epoch, token))
        if not without_pin:
            yield f"book {name}: commit under way, its sender goes on", go(late, part, pc)
    if state in ("DONE", "SAME"):
        answer_booked(after, held)
        yield (
            f"book {name}: {state} -> 201",
            go(after, part, ("finish", epoch, incarnation, 0, rows)),
        )
    elif state == "TOKEN":
        pc = settling if flags.token_raise else DONE
        yield f"book {name}: the fencing token has grown", go(after, part, pc)
    else:
        yield f"book {name}: {state}", _not_booked(after, part, held, state)


def _not_booked(after: World, part: int, held: int, state: str) -> World:
    if state in ("GUARD", "BOOKED"):
        if not after.configuration.constraint_only:
            after.accuse(f"I3 {after.name(held)} got its journal row, then {state}")
    else:
        refuse(after, held, state)
    return go(after, part, DONE)


def _settle(world: World, part: int, held: int) -> Steps:
    _, epoch, incarnation, *_ = world.actors[part]
    after = world.copy()
    state, token = transactions.settle(after, epoch, held)
    if state != "EPOCH":
        rows = after.rows(held) if state == "CONFIRMED" else ()
        pc = ("settled", epoch, incarnation, (state, token), rows)
        yield f"settle {world.name(held)}: {state} {token}", go(after, part, pc)


def _carry_out(world: World, part: int, held: int, settled: tuple[str, int], rows: Rows) -> Steps:
    """Bring to Redis what the settlement found in the journal."""
    state, token = settled
    script: scripts.Script
    arguments: tuple[Any, ...]
    if state == "HELD":
        script, arguments = scripts.unpin, (token,)
    elif state == "CONFIRMED":
        script, arguments = scripts.finish, (rows,)
    else:
        script, arguments = scripts.end, (state,)
    after, _ = call(world, part, script, held, *arguments)
    if after is not None:
        yield f"{world.name(held)} is settled in Redis: {state}", go(after, part, DONE)


def resolve(world: World, part: int, this: Part) -> Steps:
    """The resolver: settles a hold that stays pinned, whichever process pinned it."""
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


def book_batch(world: World, part: int, this: Part) -> Steps:
    """A batch of bookings in one transaction: all or nothing.

    If one item fails, nothing of the batch is committed and each item is booked by itself. An unknown
    commit is unknown for every item, so each is settled by itself.
    """
    step, epoch, incarnation, tokens, left = world.actors[part]
    if step == "pin":
        yield from _pin_next(world, part, this, tokens, left)
    elif step == "book":
        yield from _book_all(world, part, tokens)
    elif step == "one":
        yield from _book_one(world, part, tokens, left)
    elif step == "finish":
        after, _ = call(world, part, scripts.finish, *left[0])
        if after is not None:
            pc = ("finish", epoch, incarnation, (), left[1:]) if left[1:] else DONE
            yield f"finish({world.name(left[0][0])})", go(after, part, pc)
        else:
            yield from learn_again(world, part, "finish")
    elif step == "settle":
        after = world.copy()
        state, token = transactions.settle(after, epoch, left[0])
        if state != "EPOCH":
            pc = ("carry out", epoch, incarnation, (state, token, after.rows(left[0])), left)
            yield f"settle {world.name(left[0])}: {state}", go(after, part, pc)
    else:
        state, token, rows = tokens
        following = ("settle", epoch, incarnation, (), left[1:]) if left[1:] else DONE
        for label, after in _carry_out(world, part, left[0], (state, token), rows):
            yield label, go(after, part, following)


def _pin_next(world: World, part: int, this: Part, pins: Pins, left: tuple[int, ...]) -> Steps:
    """Pin one hold. One script call for all of them equals these steps without another in between."""
    _, epoch, incarnation, *_ = world.actors[part]
    left = left or this.several[len(pins) :]
    after, reply = call(world, part, scripts.pin, left[0])
    if after is None:
        yield from learn_again(world, part, "pin")
        return
    if reply[0] == "PINNED":
        pins = (*pins, (left[0], epoch, reply[1]))
    if left[1:]:
        pc: Pc = ("pin", epoch, incarnation, pins, left[1:])
    else:
        pc = ("book", epoch, incarnation, pins, ()) if pins else DONE
    yield f"pin({world.name(left[0])}): {reply[0]}", go(after, part, pc)


def _book_all(world: World, part: int, pins: Pins) -> Steps:
    _, epoch, incarnation, *_ = world.actors[part]
    flags = world.flags
    alone: Pc = ("one", epoch, incarnation, pins, ())
    if flags.batch_one_proof:
        pins = tuple((held, epoch, token) for held, _, token in pins)
    elif len({epoch for _, epoch, _ in pins}) > 1:
        yield (
            "pins of several epochs are not booked in one transaction",
            go(world.copy(), part, alone),
        )
        return
    after = world.copy()
    sold: list[tuple[int, Rows]] = []
    states = []
    for held, proven, token in pins:
        state, rows = transactions.confirm(after, proven, held, token)
        states.append(state)
        if state in ("DONE", "SAME"):
            sold.append((held, rows))
        elif flags.batch_all_or_nothing:
            break
    if "EPOCH" in states:
        return
    if flags.batch_all_or_nothing and len(sold) < len(pins):
        after = world.copy()
        if flags.batch_all_done and states[0] == "DONE":
            _answer_booked(after, [pin[0] for pin in pins])
        yield f"one transaction: {states}, rolled back", go(after, part, alone)
        return
    if world.budget.unknowns:
        yield from _unknown_batch(world, after, part, [claim[0] for claim in pins])
    _answer_booked(after, [held for held, _ in sold])
    following: Pc = ("finish", epoch, incarnation, (), tuple(sold)) if sold else DONE
    yield f"one transaction: {states} -> 201", go(after, part, following)


def _unknown_batch(world: World, after: World, part: int, held: list[int]) -> Steps:
    _, epoch, incarnation, *_ = world.actors[part]
    settling: Pc = ("settle", epoch, incarnation, (), tuple(held))
    for how, outcome in (("committed", after.copy()), ("undone", world.copy())):
        spend(outcome, "unknowns")
        yield f"one transaction: {how}, answer lost", go(outcome, part, settling)


def _answer_booked(after: World, held: list[int]) -> None:
    for hold in held:
        answer_booked(after, hold)


def _book_one(world: World, part: int, pins: Pins, sold: tuple[tuple[int, Rows], ...]) -> Steps:
    _, epoch, incarnation, *_ = world.actors[part]
    (held, proven, token), *left = pins
    after = world.copy()
    state, rows = transactions.confirm(after, proven, held, token)
    if state in ("DONE", "SAME"):
        answer_booked(after, held)
        sold = (*sold, (held, rows))
    elif state in ("GUARD", "BOOKED"):
        after.accuse(f"I3 {world.name(held)} got its journal row, then {state}")
    elif state not in ("TOKEN", "EPOCH"):  # after those two the client's retry pins again
        refuse(after, held, state)
    if left:
        pc: Pc = ("one", epoch, incarnation, tuple(left), sold)
    else:
        pc = ("finish", epoch, incarnation, (), sold) if sold else DONE
    yield f"book {world.name(held)} by itself: {state}", go(after, part, pc)
