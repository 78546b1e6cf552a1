"""Mutations of a correct run: each breaks one invariant, and names the checks that must find it.

A mutation returns None if the run has nothing that it could break.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Final, TypeVar

from app.clock import instant_text
from app.hold.model import instant_of
from tests.faults.checker.evidence import instant
from tests.faults.dumps import Dumps, JournalRow
from tests.faults.history import OK, History, Operation

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Run:
    operations: tuple[Operation, ...]
    dumps: Dumps

    @property
    def history(self) -> History:
        history = History()
        for one in self.operations:
            history.append(one)
        return history

    def having(self, operation: Operation) -> "Run":
        """The run with the operation of the same number replaced."""
        changed = (operation if one.number == operation.number else one for one in self.operations)
        return replace(self, operations=tuple(changed))

    def dumped(self, **changes: Any) -> "Run":
        return replace(self, dumps=replace(self.dumps, **changes))


Mutation = Callable[[Run, Random], Run | None]


def lose_a_booking(run: Run, chance: Random) -> Run | None:
    row = _one(chance, run.dumps.bookings)
    return None if row is None else run.dumped(bookings=_without(run.dumps.bookings, row))


def lose_a_journal_row(run: Run, chance: Random) -> Run | None:
    row = _one(chance, [row for row in run.dumps.hold_journal if _was_answered(run, row)])
    return None if row is None else run.dumped(hold_journal=_without(run.dumps.hold_journal, row))


def abort_a_journal_row(run: Run, chance: Random) -> Run | None:
    row = _one(chance, [row for row in run.dumps.hold_journal if _was_answered(run, row)])
    return None if row is None else _journal(run, row, state="ABORTED")


def sell_a_seat_twice(run: Run, chance: Random) -> Run | None:
    row = _one(chance, [row for row in run.dumps.bookings if row.status == "confirmed"])
    if row is None:
        return None
    twin = replace(row, booking_id="bkg_twin", hold_id="hold_twin", record_locator="TWIN22")
    return run.dumped(bookings=(*run.dumps.bookings, twin))


def share_a_locator(run: Run, chance: Random) -> Run | None:
    rows = run.dumps.bookings
    if len(rows) < 2:
        return None
    return run.dumped(bookings=(replace(rows[0], record_locator=rows[1].record_locator), *rows[1:]))


def forget_a_sale(run: Run, chance: Random) -> Run | None:
    row = _one(chance, [row for row in run.dumps.inventory if row.sold_total])
    if row is None:
        return None
    fewer = replace(row, sold=(0,) * len(row.sold), sold_total=0)
    return run.dumped(inventory=(*_without(run.dumps.inventory, row), fewer))


def sell_above_the_ceiling(run: Run, chance: Random) -> Run | None:
    row = _one(chance, [row for row in run.dumps.inventory if row.sold_total])
    if row is None:
        return None
    tight = replace(row, ceilings=(0,) * len(row.sold), ceiling_total=0)
    return run.dumped(inventory=(*_without(run.dumps.inventory, row), tight))


def halve_a_booking(run: Run, chance: Random) -> Run | None:
    """A booking whose hold was never confirmed in the journal."""
    row = _one(chance, run.dumps.bookings)
    if row is None:
        return None
    journal = _one(chance, [j for j in run.dumps.hold_journal if j.hold_id == row.hold_id])
    return None if journal is None else _journal(run, journal, state="RELEASED")


def lose_a_fact(run: Run, chance: Random) -> Run | None:
    row = _one(chance, run.dumps.outbox)
    return None if row is None else run.dumped(outbox=_without(run.dumps.outbox, row))


def lose_an_event(run: Run, chance: Random) -> Run | None:
    event = _one(chance, run.dumps.bus or ())
    return (
        None
        if event is None
        else run.dumped(bus=tuple(one for one in run.dumps.bus or () if one is not event))
    )


def invent_an_event(run: Run, chance: Random) -> Run | None:
    event = _one(chance, run.dumps.bus or ())
    return (
        None
        if event is None
        else run.dumped(bus=(*(run.dumps.bus or ()), {**event, "id": "evt_invented"}))
    )


def reorder_events(run: Run, chance: Random) -> Run | None:
    bus = run.dumps.bus or ()
    second = _one(chance, [one for one in bus if one["sequence"] == 2])
    return (
        None
        if second is None
        else run.dumped(bus=(second, *(one for one in bus if one is not second)))
    )


def rewrite_an_event(run: Run, chance: Random) -> Run | None:
    event = _one(chance, run.dumps.bus or ())
    if event is None:
        return None
    changed = {**event, "data": {"segments": []}}
    return run.dumped(bus=tuple(changed if one is event else one for one in run.dumps.bus or ()))


def omit_a_fact(run: Run, chance: Random) -> Run | None:
    pages = [one for one in _answered(run, "events") if len((one.answer or {})["data"]) > 1]
    page = _one(chance, pages)
    if page is None:
        return None
    answered = (page.answer or {})["data"]
    return run.having(replace(page, answer={**(page.answer or {}), "data": answered[1:]}))


def swap_two_answers(run: Run, chance: Random) -> Run | None:
    answered = _answered(run, "hold")
    one = _one(chance, answered)
    other = _one(chance, [each for each in answered if one and _id(each) != _id(one)])
    if one is None or other is None:
        return None
    swapped = replace(one, answer=other.answer, headers=other.headers)
    return run.having(swapped).having(replace(other, answer=one.answer, headers=one.headers))


def answer_for_another(run: Run, chance: Random) -> Run | None:
    """Swap the bodies of two answers; each keeps its own request id."""
    answered = _answered(run, "get_hold")
    one = _one(chance, answered)
    other = _one(chance, [each for each in answered if one and each.subject != one.subject])
    if one is None or other is None:
        return None
    return run.having(replace(one, answer=other.answer))


def hold_twice_for_one_key(run: Run, chance: Random) -> Run | None:
    again = _one(
        chance, [one for one in _answered(run, "hold") if "idempotent-replayed" in one.headers]
    )
    if again is None:
        return None
    answer = {**(again.answer or {}), "id": "hold_second"}
    return run.having(
        replace(
            again, answer=answer, headers={**again.headers, "location": "/v1/holds/hold_second"}
        )
    )


def hide_a_replay(run: Run, chance: Random) -> Run | None:
    again = _one(chance, [one for one in run.operations if "idempotent-replayed" in one.headers])
    if again is None or not _earlier_answer(run, again):
        return None
    kept = {name: value for name, value in again.headers.items() if name != "idempotent-replayed"}
    return run.having(replace(again, headers=kept))


def refuse_a_live_hold(run: Run, chance: Random) -> Run | None:
    """A booking right after the grant is refused as expired."""
    booked = _one(chance, [one for one in _answered(run, "book") if _first_of_key(run, one)])
    if booked is None:
        return None
    refused = _refused(booked, 410, "hold_expired")
    granted = [one for one in _answered(run, "hold") if _id(one) == booked.subject]
    expires = [one for one in _answered(run, "extend") if one.subject == booked.subject]
    return None if not granted or expires else run.having(refused)


def deny_a_hold(run: Run, chance: Random) -> Run | None:
    seen = _one(chance, _answered(run, "get_hold"))
    return None if seen is None else run.having(_refused(seen, 404, "not_found"))


def grant_what_is_sold_out(run: Run, chance: Random) -> Run | None:
    full = _one(chance, [one for one in run.operations if one.code == "sold_out"])
    like = _answered(run, "hold")
    earlier = [one for one in like if full and one.invoked_at < full.invoked_at]
    if full is None or not earlier:
        return None
    model = earlier[-1].answer or {}
    since = full.invoked_at - earlier[-1].invoked_at
    answer = {
        **model,
        "id": "hold_oversold",
        "segments": full.request["segments"],
        "passengers": full.request["passengers"],
        "created_at": _later(model["created_at"], since),
        "expires_at": _later(model["created_at"], since + 10),
    }
    granted = replace(
        full,
        outcome=OK,
        status=201,
        code=None,
        answer=answer,
        headers={"location": "/v1/holds/hold_oversold", "x-request-id": full.request_id},
    )
    return run.having(granted)


def leak_a_seat(run: Run, chance: Random) -> Run | None:
    redis = run.dumps.redis
    flight_id = _one(chance, sorted(redis.flights) if redis else ())
    if redis is None or flight_id is None:
        return None
    cabins = redis.flights[flight_id]
    leaked = {
        name: replace(cabin, held=(cabin.held[0] + 1, *cabin.held[1:]))
        for name, cabin in cabins.items()
    }
    return run.dumped(redis=replace(redis, flights={**redis.flights, flight_id: leaked}))


def miss_a_sale_in_redis(run: Run, chance: Random) -> Run | None:
    redis = run.dumps.redis
    flight_id = _one(chance, sorted(redis.flights) if redis else ())
    if redis is None or flight_id is None:
        return None
    wrong = {
        name: replace(cabin, sold=(cabin.sold[0] + 1, *cabin.sold[1:]))
        for name, cabin in redis.flights[flight_id].items()
    }
    return run.dumped(redis=replace(redis, flights={**redis.flights, flight_id: wrong}))


def lose_a_memo(run: Run, chance: Random) -> Run | None:
    redis = run.dumps.redis
    hold_id = _one(chance, sorted(redis.memos) if redis else ())
    if redis is None or hold_id is None:
        return None
    rest = {name: memo for name, memo in redis.memos.items() if name != hold_id}
    return run.dumped(redis=replace(redis, memos=rest))


def commit_in_an_old_epoch(run: Run, chance: Random) -> Run | None:
    row = _one(chance, run.dumps.hold_journal)
    return None if row is None else _journal(run, row, epoch=row.epoch - 1)


def set_the_clock_back(run: Run, chance: Random) -> Run | None:
    answered = [one for one in _answered(run, "hold") if _first_of_key(run, one)]
    if len(answered) < 2:
        return None
    late = answered[-1]
    answer = late.answer or {}
    return run.having(
        replace(late, answer={**answer, "created_at": _later(answer["created_at"], -3000)})
    )


def fail_outright(run: Run, chance: Random) -> Run | None:
    one = _one(chance, [one for one in run.operations if one.status is not None])
    return None if one is None else run.having(_refused(one, 500, "internal_error"))


def answer_too_late(run: Run, chance: Random) -> Run | None:
    one = _one(chance, [one for one in run.operations if one.completed_at is not None])
    return (
        None if one is None else run.having(replace(one, completed_at=(one.completed_at or 0) + 60))
    )


def confuse_request_ids(run: Run, chance: Random) -> Run | None:
    one = _one(chance, [one for one in run.operations if one.status is not None])
    return (
        None
        if one is None
        else run.having(replace(one, headers={**one.headers, "x-request-id": "another"}))
    )


def miscount_what_is_open(run: Run, chance: Random) -> Run | None:
    one = _one(chance, _answered(run, "availability"))
    if one is None:
        return None
    (cabin,) = (one.answer or {})["cabins"]
    first, *others = cabin["booking_classes"]
    wrong = {**cabin, "booking_classes": [{**first, "open": first["open"] + 1}, *others]}
    return run.having(replace(one, answer={**(one.answer or {}), "cabins": [wrong]}))


def cancel_by_itself(run: Run, chance: Random) -> Run | None:
    asked = {one.subject for one in run.operations if one.kind == "cancel"}
    row = _one(chance, [row for row in run.dumps.bookings if row.booking_id not in asked])
    if row is None:
        return None
    gone = replace(row, status="cancelled", version=2)
    return run.dumped(bookings=(*_without(run.dumps.bookings, row), gone))


MUTATIONS: Final[tuple[tuple[Mutation, frozenset[str]], ...]] = (
    (lose_a_booking, frozenset({"I5"})),
    (lose_a_journal_row, frozenset({"I3"})),
    (abort_a_journal_row, frozenset({"I3"})),
    (sell_a_seat_twice, frozenset({"I1", "I5"})),
    (share_a_locator, frozenset({"I5"})),
    (forget_a_sale, frozenset({"I1"})),
    (sell_above_the_ceiling, frozenset({"I1"})),
    (halve_a_booking, frozenset({"I5"})),
    (lose_a_fact, frozenset({"I5", "I7"})),
    (lose_an_event, frozenset({"I7"})),
    (invent_an_event, frozenset({"I7"})),
    (reorder_events, frozenset({"I8"})),
    (rewrite_an_event, frozenset({"I7"})),
    (omit_a_fact, frozenset({"I8"})),
    (swap_two_answers, frozenset({"I9"})),
    (answer_for_another, frozenset({"I9"})),
    (hold_twice_for_one_key, frozenset({"I4"})),
    (hide_a_replay, frozenset({"I4"})),
    (refuse_a_live_hold, frozenset({"I3"})),
    (deny_a_hold, frozenset({"I3"})),
    (grant_what_is_sold_out, frozenset({"I2"})),
    (leak_a_seat, frozenset({"I6", "I11"})),
    (miss_a_sale_in_redis, frozenset({"I11"})),
    (lose_a_memo, frozenset({"I3"})),
    (commit_in_an_old_epoch, frozenset({"I10"})),
    (set_the_clock_back, frozenset({"I10"})),
    (fail_outright, frozenset({"I12"})),
    (answer_too_late, frozenset({"I12"})),
    (confuse_request_ids, frozenset({"I9"})),
    (miscount_what_is_open, frozenset({"I11"})),
    (cancel_by_itself, frozenset({"I5"})),
)
"""Each mutation with the invariants that must be reported, all of them."""


def _one(chance: Random, some: Iterable[T]) -> T | None:
    known = list(some)
    return chance.choice(known) if known else None


def _without(rows: tuple[T, ...], row: T) -> tuple[T, ...]:
    return tuple(one for one in rows if one is not row)


def _journal(run: Run, row: JournalRow, **changes: Any) -> Run:
    rest = _without(run.dumps.hold_journal, row)
    return run.dumped(hold_journal=(*rest, replace(row, **changes)))


def _answered(run: Run, kind: str) -> list[Operation]:
    return [one for one in run.operations if one.kind == kind and one.outcome == OK]


def _id(operation: Operation) -> str:
    return str((operation.answer or {}).get("id"))


def _was_answered(run: Run, row: JournalRow) -> bool:
    return any(_id(one) == row.hold_id for one in _answered(run, "hold"))


def _first_of_key(run: Run, operation: Operation) -> bool:
    return next(one for one in run.operations if one.key == operation.key) is operation


def _earlier_answer(run: Run, operation: Operation) -> bool:
    return any(
        one.key == operation.key and one.number < operation.number and one.outcome == OK
        for one in run.operations
    )


def _refused(operation: Operation, status: int, code: str) -> Operation:
    return replace(
        operation,
        outcome="refused",
        status=status,
        code=code,
        answer={"status": status, "code": code},
        headers={"content-type": "application/problem+json", "x-request-id": operation.request_id},
    )


def _later(text: str, seconds: float) -> str:
    moved = instant(text) + int(seconds * 1000) * 1000
    return instant_text(instant_of(moved))
