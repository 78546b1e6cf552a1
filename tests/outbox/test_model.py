"""The envelope's shape, and the order in which waiting facts may be numbered."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ids import EventId, event_id
from app.outbox.model import Aggregate, Unnumbered, in_sequence
from tests.builders.facts import a_fact, a_shared_fact, an_event


def test_the_envelope_is_the_contract_s_event() -> None:
    fact = a_fact("bkg_a", 2, data={"seats": 3})
    assert an_event(fact).to_json() == {
        "id": event_id("bkg_a", 2),
        "type": "booking.confirmed",
        "version": 1,
        "occurred_at": "2026-12-10T12:00:00Z",
        "tenant_id": "tenant-1",
        "aggregate": {"type": "booking", "id": "bkg_a"},
        "sequence": 2,
        "data": {"seats": 3},
    }


def test_a_shared_fact_s_envelope_has_no_tenant() -> None:
    assert an_event(a_shared_fact()).to_json()["tenant_id"] is None


def test_instants_leave_in_utc_with_milliseconds_where_there_are_any() -> None:
    in_santiago = datetime(2026, 12, 10, 9, 0, 0, 123456, timezone(timedelta(hours=-3)))
    event = replace(an_event(), occurred_at=in_santiago)
    assert event.to_json()["occurred_at"] == "2026-12-10T12:00:00.123Z"


def test_a_retried_transaction_names_the_same_event() -> None:
    assert a_fact("bkg_a", 1).event_id == a_fact("bkg_a", 1, seconds=9).event_id
    assert a_fact("bkg_a", 1).event_id != a_fact("bkg_a", 2).event_id


def test_a_fact_without_a_zone_or_a_place_in_its_sequence_is_a_mistake() -> None:
    with pytest.raises(AssertionError, match="counts from 1"):
        a_fact(sequence=0)
    with pytest.raises(AssertionError, match="aware"):
        replace(a_fact(), occurred_at=datetime(2026, 12, 10, 12))  # noqa: DTZ001


def test_a_fact_before_its_predecessor_comes_right_behind_it() -> None:
    waiting = [_waiting("a", 2), _waiting("b", 1), _waiting("a", 1), _waiting("c", 1)]
    assert [_name(fact) for fact in in_sequence(waiting)] == ["b1", "a1", "a2", "c1"]


def test_a_fact_behind_a_gap_waits_and_nothing_else_does() -> None:
    waiting = [_waiting("a", 3), _waiting("a", 1), _waiting("b", 1)]
    assert [_name(fact) for fact in in_sequence(waiting)] == ["a1", "b1"]


@st.composite
def waiting_facts(draw: st.DrawFn) -> list[Unnumbered]:
    """Some aggregates, each numbered up to a point, the rest shuffled and with holes."""
    waiting: list[Unnumbered] = []
    for name in draw(st.sets(st.sampled_from("abcd"), min_size=1)):
        numbered_to = draw(st.integers(0, 3))
        sequences = draw(st.sets(st.integers(numbered_to + 1, numbered_to + 5)))
        waiting += [_waiting(name, sequence, numbered_to) for sequence in sequences]
    return draw(st.permutations(waiting))


@given(waiting_facts())
def test_numbering_keeps_every_sequence_and_leaves_out_only_what_has_to_wait(
    waiting: list[Unnumbered],
) -> None:
    taken = in_sequence(waiting)

    assert len(set(taken)) == len(taken)
    assert set(taken) == _all_reachable(waiting)
    for index, fact in enumerate(taken):
        assert fact.follows or any(
            earlier.aggregate == fact.aggregate and earlier.sequence == fact.sequence - 1
            for earlier in taken[:index]
        ), "every prefix of the answer is in sequence"


@given(st.lists(st.sampled_from("abcdefgh"), unique=True))
def test_first_facts_keep_the_order_given(names: list[str]) -> None:
    assert [fact.aggregate.id for fact in in_sequence(_waiting(name, 1) for name in names)] == names


def _waiting(name: str, sequence: int, numbered_to: int = 0) -> Unnumbered:
    return Unnumbered(
        EventId(f"evt_{name}{sequence}"),
        Aggregate("booking", name),
        sequence,
        follows=sequence == numbered_to + 1,
    )


def _name(fact: Unnumbered) -> str:
    return f"{fact.aggregate.id}{fact.sequence}"


def _all_reachable(waiting: list[Unnumbered]) -> set[Unnumbered]:
    """By the rule itself, again and again until nothing is added."""
    reachable = {fact for fact in waiting if fact.follows}
    while True:
        reached = {(fact.aggregate, fact.sequence + 1) for fact in reachable}
        more = {fact for fact in waiting if (fact.aggregate, fact.sequence) in reached}
        if more <= reachable:
            return reachable
        reachable |= more
