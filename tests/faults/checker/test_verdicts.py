"""Small histories written by hand: unusual but correct ones pass, and wrong ones are reported."""

from dataclasses import replace
from typing import Any, Final

import pytest

from tests.faults.checker import check
from tests.faults.checker.seller import DROPPED, LOST, NEVER_SENT, Seller
from tests.faults.dumps import Dumps
from tests.faults.history import History, Operation

FLIGHTS: Final = {"flt_a": (("Y", 2), ("M", 1)), "flt_b": (("Y", 2),)}
Y, M, B = [("flt_a", "Y")], [("flt_a", "M")], [("flt_b", "Y")]


@pytest.fixture
def seller() -> Seller:
    return Seller(FLIGHTS)


def verdict(
    seller: Seller, *changed: Operation, dumps: Dumps | None = None, **terms: Any
) -> dict[str, str]:
    """The first violation's sentence by invariant; given operations replace those with the same number."""
    left = dumps or seller.dumps()
    numbers = {one.number: one for one in changed}
    history = History()
    for one in seller.history.operations():
        history.append(numbers.get(one.number, one))
    found: dict[str, str] = {}
    for violation in check(history, left, replace(seller.terms, **terms)):
        found.setdefault(violation.invariant, str(violation))
    return found


def id_of(operation: Operation) -> str:
    return str((operation.answer or {})["id"])


def refused(operation: Operation, status: int, code: str, **facts: Any) -> Operation:
    return replace(
        operation,
        outcome="refused",
        status=status,
        code=code,
        answer={"status": status, "code": code, **facts},
        headers={
            "content-type": "application/problem+json",
            "x-request-id": operation.request_id,
            "retry-after": "1",
        },
    )


def granted_like(full: Operation, other: Operation, **changes: Any) -> Operation:
    """A refused hold changed to a granted one, with the same time as another."""
    answer = {**(other.answer or {}), "id": "hold_more", **full.request, **changes}
    headers = {"location": "/v1/holds/hold_more", "x-request-id": full.request_id}
    return replace(full, outcome="ok", status=201, code=None, answer=answer, headers=headers)


# I1


def test_released_seats_are_sold_again(seller: Seller) -> None:
    for _ in range(3):
        booked = seller.book(id_of(seller.hold(Y, 2)))
        seller.cancel(id_of(booked), fate=LOST)
        seller.cancel(id_of(booked))
    assert verdict(seller) == {}


def test_a_lowered_limit_takes_no_seat_from_a_hold(seller: Seller) -> None:
    seller.book(id_of(seller.hold(Y, 2)))
    dumps = seller.dumps()
    assert dumps.redis is not None
    rows = [replace(row, limits=(0,) * len(row.limits)) for row in dumps.inventory]
    flights = {
        flight: {n: replace(c, limits=(0,) * len(c.limits)) for n, c in cabins.items()}
        for flight, cabins in dumps.redis.flights.items()
    }
    lowered = replace(dumps, inventory=tuple(rows), redis=replace(dumps.redis, flights=flights))
    assert verdict(seller, dumps=lowered) == {}


@pytest.mark.parametrize(
    "change", [{"ceilings": (1, 1), "ceiling_total": 1}, {"sold": (1, 0), "sold_total": 1}]
)
def test_a_row_that_counts_wrong_is_found(seller: Seller, change: dict[str, Any]) -> None:
    seller.book(id_of(seller.hold(Y, 2)))
    dumps = seller.dumps()
    first, *others = dumps.inventory
    wrong = replace(dumps, inventory=(replace(first, **change), *others))
    assert "I1" in verdict(seller, dumps=wrong)


# I2


def test_a_seat_is_granted_again_at_the_time_of_expiry(seller: Seller) -> None:
    first = seller.hold(Y, 2)
    seller.wait(10 - (seller.now - first.invoked_at) - 0.004)
    for _ in range(4):  # only the first one after the expiry is granted
        seller.hold(Y, 2)
    assert sum(one.outcome == "ok" for one in seller.history.operations()) == 2
    assert verdict(seller) == {}


def test_a_seat_is_granted_again_while_its_release_is_unknown(seller: Seller) -> None:
    seller.release(id_of(seller.hold(Y, 2)), fate=LOST)
    seller.hold(Y, 2)
    assert verdict(seller) == {}


def test_a_shared_seat_is_found(seller: Seller) -> None:
    first = seller.hold(Y, 2)
    full = seller.hold(Y)
    assert "I2" in verdict(seller, granted_like(full, first))


def test_a_seat_shared_within_nested_classes_is_found(seller: Seller) -> None:
    first = seller.hold(M)
    full = seller.hold(M)
    found = verdict(seller, granted_like(full, first))
    assert "class number 2 down" in found["I2"]
    assert "hold_more" in found["I2"]
    assert id_of(first) in found["I2"]


def test_a_seat_shared_with_a_booking_is_found_long_after_the_hold(seller: Seller) -> None:
    first = seller.hold(Y, 2)
    seller.book(id_of(first), fate=LOST)
    seller.wait(30)
    later = seller.hold(B)
    full = seller.hold(Y)
    assert "I2" in verdict(seller, granted_like(full, later))


def test_a_seat_shared_until_a_release_is_found_by_the_runners_clock(seller: Seller) -> None:
    first = seller.hold(Y, 2)
    full = seller.hold(Y)
    seller.release(id_of(first))
    assert "runner's clock" in verdict(seller, granted_like(full, first))["I2"]


# I3


def test_an_expired_hold_may_be_refused(seller: Seller) -> None:
    first = seller.hold(Y)
    seller.wait(11)
    seller.book(id_of(first))
    seller.extend(id_of(first))
    seller.get_hold(id_of(first))
    assert verdict(seller) == {}


def test_a_hold_may_expire_early_if_its_clock_was_moved(seller: Seller) -> None:
    first = seller.hold(Y)
    booked = refused(seller.book(id_of(first)), 410, "hold_expired")
    dumps = Seller(FLIGHTS).dumps()
    (row,) = seller.dumps().hold_journal
    dumps = replace(dumps, hold_journal=(replace(row, state="EXPIRED"),))
    assert verdict(seller, booked, dumps=dumps, clocks_moved=True) == {}
    assert "I3" in verdict(seller, booked, dumps=dumps)


def test_another_grant_bounds_a_moved_clock(seller: Seller) -> None:
    first = seller.hold(Y)
    booked = refused(seller.book(id_of(first)), 410, "hold_expired")
    witness = seller.hold(B)
    found = verdict(seller, booked, clocks_moved=True)
    assert id_of(witness) in found["I3"]


def test_a_hold_may_be_refused_while_a_fault_lasts(seller: Seller) -> None:
    first = seller.hold(Y)
    seller.book(id_of(first), key="b", fate=NEVER_SENT)
    seller.book(id_of(first), key="b")
    assert verdict(seller) == {}


def test_a_hold_that_cannot_be_booked_at_rest_is_reported(seller: Seller) -> None:
    seller.book(id_of(seller.hold(Y)), fate=NEVER_SENT)
    assert "I3" in verdict(seller, settled_at=0.0)


@pytest.mark.parametrize(
    ("status", "code"),
    [(404, "not_found"), (409, "hold_not_active"), (409, "sold_out"), (410, "hold_expired")],
)
def test_a_live_hold_denied_without_cause_is_found(seller: Seller, status: int, code: str) -> None:
    booked = seller.book(id_of(seller.hold(Y)), fate=DROPPED)
    denied = replace(refused(booked, status, code), completed_at=booked.invoked_at + 0.01)
    assert "I3" in verdict(seller, denied)


# I4


def test_a_request_is_delivered_again_and_again(seller: Seller) -> None:
    first = seller.hold(Y, key="k", fate=LOST)
    for fate in (DROPPED, NEVER_SENT, "answered", LOST, "answered"):
        seller.hold(Y, key="k", fate=fate)
    seller.release(first.subject or id_of(seller.history.operations()[3]))
    seller.hold(Y, key="k")  # the original answer
    assert verdict(seller) == {}


def test_two_answers_for_one_request_are_found(seller: Seller) -> None:
    first = seller.hold(Y, key="k")
    again = seller.hold(Y, key="k")
    other = {**(again.answer or {}), "expires_at": (first.answer or {})["created_at"]}
    assert "I4" in verdict(seller, replace(again, answer=other))


def test_other_bytes_for_one_request_are_found(seller: Seller) -> None:
    first = seller.hold(Y, key="k")
    again = seller.hold(Y, key="k")
    changed = replace(first, digest="one"), replace(again, digest="two")
    assert "I4" in verdict(seller, *changed)


def test_a_refusal_after_the_answer_is_found(seller: Seller) -> None:
    seller.hold(Y, key="k")
    again = refused(seller.hold(Y, key="k"), 409, "price_changed")
    assert "I4" in verdict(seller, again)


# I5


def test_a_booking_may_exist_without_an_answer(seller: Seller) -> None:
    first = seller.hold(Y)
    seller.book(id_of(first), fate=LOST)
    seller.get_hold(id_of(first))
    assert verdict(seller) == {}


def test_a_booking_without_a_request_is_reported(seller: Seller) -> None:
    booked = seller.book(id_of(seller.hold(Y)))
    assert "I5" in verdict(seller, refused(booked, 409, "duplicate_booking"))


@pytest.mark.parametrize("lost", ["bookings", "outbox", "idempotency"])
def test_half_a_booking_is_found(seller: Seller, lost: str) -> None:
    seller.book(id_of(seller.hold(Y)))
    without: dict[str, Any] = {lost: ()}
    assert "I5" in verdict(seller, dumps=replace(seller.dumps(), **without))


# I6


def test_a_refusal_is_correct_while_the_seats_may_be_taken(seller: Seller) -> None:
    seller.hold(Y, 2, fate=LOST)
    seller.wait(9)
    seller.hold(Y)
    assert verdict(seller) == {}


@pytest.mark.parametrize("before", ["nobody", "expired", "released"])
def test_free_seats_that_are_refused_are_found(seller: Seller, before: str) -> None:
    if before != "nobody":
        first = seller.hold(Y, 2)
        if before == "released":
            seller.release(id_of(first))
        else:
            seller.wait(11)
    asked = seller.hold(Y, fate=DROPPED)
    error = {"flight_id": "flt_a", "booking_class": "Y", "requested": 1, "open": 0}
    denied = refused(asked, 409, "sold_out", errors=[error])
    assert "I6" in verdict(seller, replace(denied, completed_at=asked.invoked_at + 0.01))


@pytest.mark.parametrize(("frozen_seconds", "excused"), [(10.0, True), (9.0, False)])
def test_a_request_of_a_frozen_process_may_have_kept_seats(
    seller: Seller, frozen_seconds: float, excused: bool
) -> None:
    """The process is frozen after the grant for longer than a hold; the grant is swept, and refused later."""
    slow, quick = seller.hold(Y, 2, fate=DROPPED), seller.hold(Y, fate=DROPPED)
    error = {"flight_id": "flt_a", "booking_class": "Y", "open": 0}
    late = refused(slow, 409, "sold_out", errors=[{**error, "requested": 2}])
    soon = refused(quick, 409, "sold_out", errors=[{**error, "requested": 1}])
    found = verdict(
        seller,
        replace(late, completed_at=slow.invoked_at + frozen_seconds),
        replace(soon, completed_at=quick.invoked_at + 0.01),
    )
    assert ("I6" not in found) is excused


def test_a_hold_served_beyond_its_end_is_found(seller: Seller) -> None:
    first = seller.hold(Y)
    seen = seller.get_hold(id_of(first))
    seller.wait(11)
    seller.hold(B)  # its answer shows the hold store's time
    late = seller.get_hold(id_of(first))
    assert "I6" in verdict(seller, replace(late, answer=seen.answer))


# I7, I8


def test_an_event_may_be_published_twice(seller: Seller) -> None:
    booked = seller.book(id_of(seller.hold(Y)))
    seller.cancel(id_of(booked))
    dumps = seller.dumps()
    bus = dumps.bus or ()
    assert verdict(seller, dumps=replace(dumps, bus=(*bus, *bus))) == {}


def test_events_lost_invented_or_out_of_order_are_found(seller: Seller) -> None:
    booked = seller.book(id_of(seller.hold(Y)))
    seller.cancel(id_of(booked))
    dumps = seller.dumps()
    first, second = dumps.bus or ()
    assert "I7" in verdict(seller, dumps=replace(dumps, bus=(first,)))
    assert "I7" in verdict(
        seller, dumps=replace(dumps, bus=(first, second, {**first, "id": "evt_x"}))
    )
    assert "I8" in verdict(seller, dumps=replace(dumps, bus=(second, first)))
    gap = replace(dumps.outbox[1], sequence=3)
    assert "I8" in verdict(seller, dumps=replace(dumps, outbox=(dumps.outbox[0], gap)))


# I9


def test_another_tenants_answer_is_found(seller: Seller) -> None:
    first = seller.hold(Y)
    seen = seller.get_hold(id_of(first))
    assert "I9" in verdict(seller, replace(seen, tenant="rival"))
    assert verdict(seller, refused(replace(seen, tenant="rival"), 404, "not_found")) == {}


def test_other_seats_than_asked_for_are_found(seller: Seller) -> None:
    first = seller.hold(Y)
    others: list[dict[str, Any]] = [
        {"passengers": {"ADT": 2, "CHD": 0, "INF": 0}},
        {"segments": []},
    ]
    for wrong in others:
        assert "I9" in verdict(seller, replace(first, answer={**(first.answer or {}), **wrong}))


# I10


def test_a_grant_at_the_cut_belongs_to_the_old_epoch(seller: Seller) -> None:
    seller.hold(Y)
    seller.wait(1)
    seller.hold(B)
    dumps = seller.dumps()
    assert dumps.epoch is not None
    old, new = dumps.hold_journal
    epoch = replace(dumps.epoch, cut=old.granted_at)
    rows = replace(old, epoch=2), new
    assert verdict(seller, dumps=replace(dumps, epoch=epoch, hold_journal=rows)) == {}
    late = old, replace(new, epoch=2)
    assert "I10" in verdict(seller, dumps=replace(dumps, epoch=epoch, hold_journal=late))


def test_a_clock_that_ran_back_is_found(seller: Seller) -> None:
    first = seller.hold(Y)
    seller.wait(1)
    second = seller.hold(B)
    earlier = {**(second.answer or {}), "created_at": "2026-01-01T00:00:00.000Z"}
    assert "I10" in verdict(seller, replace(second, answer=earlier))
    assert verdict(seller, first) == {}


# I11


def test_stores_that_disagree_are_found(seller: Seller) -> None:
    seller.hold(Y)
    dumps = seller.dumps()
    assert dumps.redis is not None
    (name,) = dumps.redis.memos
    cabin = dumps.redis.flights["flt_a"]["economy"]
    for wrong in (replace(cabin, sold=(1, 0)), replace(cabin, held=(0, 0))):
        flights = {**dumps.redis.flights, "flt_a": {"economy": wrong}}
        redis = replace(dumps.redis, flights=flights)
        assert "I11" in verdict(seller, dumps=replace(dumps, redis=redis))
    ended = {name: replace(dumps.redis.memos[name], state="EXPIRED")}
    assert "I3" in verdict(seller, dumps=replace(dumps, redis=replace(dumps.redis, memos=ended)))


# I12


def test_answers_are_slow_while_something_is_broken(seller: Seller) -> None:
    first = seller.hold(Y)
    slow = replace(first, completed_at=first.invoked_at + 60)
    assert verdict(seller, slow, faults=[(first.invoked_at, first.invoked_at + 1)]) == {}
    assert "I12" in verdict(seller, slow)


@pytest.mark.parametrize(
    ("status", "code"),
    [(500, "internal_error"), (502, "x"), (409, "unheard_of"), (410, "sold_out")],
)
def test_an_untyped_answer_is_found(seller: Seller, status: int, code: str) -> None:
    assert "I12" in verdict(seller, refused(seller.hold(Y), status, code))
