"""The arithmetic of nested classes, against a brute-force third that knows only the definition."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from app.inventory.itinerary import Segment
from app.inventory.model import CabinCounts, ClassStatus, open_seats
from app.money import Money
from tests.builders.flights import flight

counts = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=26
)


def by_definition(limits: list[int], taken: list[int]) -> tuple[int, ...]:
    """open(k): the most seats that could be sold in k, one by one, with every limit respected."""
    answer = []
    for k in range(len(limits)):
        trial, seats = list(taken), 0
        while True:
            trial[k] += 1
            if any(sum(trial[j:]) > limits[j] for j in range(k + 1)):
                break
            seats += 1
        answer.append(seats)
    return tuple(answer)


@given(counts)
def test_open_is_the_most_that_every_limit_allows(rows: list[tuple[int, int, int]]) -> None:
    limits, sold, held = (list(column) for column in zip(*rows, strict=True))
    taken = [s + h for s, h in zip(sold, held, strict=True)]
    assert open_seats(limits, taken) == by_definition(limits, taken)


@given(counts)
def test_a_status_follows_from_open_with_and_without_holds(
    rows: list[tuple[int, int, int]],
) -> None:
    limits, sold, held = (tuple(column) for column in zip(*rows, strict=True))
    cabin = CabinCounts(limits, sold, held)
    without_holds = by_definition(list(limits), list(sold))
    for now, later, status in zip(cabin.open, without_holds, cabin.statuses, strict=True):
        assert status is (
            ClassStatus.OPEN
            if now >= 5
            else ClassStatus.LOW
            if now >= 1
            else ClassStatus.HELD_OUT
            if later >= 1
            else ClassStatus.CLOSED
        )


def test_prices_of_one_class_are_not_all_looked_up_in_one_place() -> None:
    """Caches know segments by their hash: of equal ones, each look-up would compare them all."""
    of = flight()
    (cabin,) = of.cabins
    first = Segment.of(of, cabin, 1)
    repriced = [replace(first, fare=Money(minor, "USD")) for minor in range(1000)]
    assert len({hash(one) for one in repriced}) == 1000
