"""Which connections a traveller is shown, to the minute; rules without servers."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.inventory.itinerary import Segment
from app.inventory.model import Flight
from app.money import Money
from app.search.connections import connects, sensible, undominated
from app.search.model import Path, Quote
from tests.builders.flights import DEPARTING, flight
from tests.builders.search import quote_of

HOUR = 60


def leg(way: str, departs: int, lasts: int, *, minor: int = 1_000, currency: str = "CLP") -> Flight:
    """Departs minutes after 08:30 UTC and lasts minutes; `way` is "SCL-LIM"."""
    origin, destination = way.split("-")
    departing = DEPARTING + timedelta(minutes=departs)
    return flight(
        flight_id=f"flt_{way}-{departs}-{lasts}-{minor}",
        origin=origin,
        destination=destination,
        departing=departing,
        departing_time_zone="UTC",
        arriving=departing + timedelta(minutes=lasts),
        arriving_time_zone="UTC",
        classes=(("Y", 9, Money(minor, currency)),),
    )


def through(
    station: str,
    departs: int,
    arrives: int,
    *,
    minor: int = 0,
    currency: str = "CLP",
    wait: int = HOUR,
) -> Quote:
    """Two legs from SCL to GRU, an hour the first; the price is all in the second."""
    second = departs + HOUR + wait
    return quote_of(
        *(
            Segment.of(one, one.cabins[0], 1)
            for one in (
                leg(f"SCL-{station}", departs, HOUR, minor=0, currency=currency),
                leg(f"{station}-GRU", second, arrives - second, minor=minor, currency=currency),
            )
        )
    )


def alone(departs: int, arrives: int, *, minor: int = 0) -> Quote:
    one = leg("SCL-GRU", departs, arrives - departs, minor=minor)
    return quote_of(Segment.of(one, one.cabins[0], 1))


@pytest.mark.parametrize(
    ("wait", "minutes", "expected"),
    [
        (60, {}, True),
        (59, {}, False),
        (60, {"GRU": 90}, True),
        (75, {"LIM": 75}, True),
        (74, {"LIM": 75}, False),
        (0, {"LIM": 0}, True),
        (-1, {"LIM": 0}, False),
        (24 * HOUR, {}, True),
        (24 * HOUR + 1, {}, False),
    ],
)
def test_a_connection_takes_its_time(wait: int, minutes: dict[str, int], expected: bool) -> None:
    assert connects(leg("SCL-LIM", 0, 30), leg("LIM-GRU", 30 + wait, 30), minutes) is expected


def test_a_connection_is_made_at_one_station() -> None:
    assert not connects(leg("SCL-LIM", 0, 30), leg("CUZ-GRU", 180, 30), {})


@pytest.mark.parametrize(
    ("direct", "first", "wait", "second", "expected"),
    [
        # in the air: twice the least and an hour
        (120, 150, 60, 150, True),
        (120, 150, 60, 151, False),
        (50, 80, 60, 80, True),
        (50, 80, 60, 81, False),
        # under way: twice the fastest and twelve hours
        (120, 60, 14 * HOUR, 60, True),
        (120, 60, 14 * HOUR + 1, 60, False),
    ],
)
def test_a_detour_is_measured_against_the_best_of_the_day(
    direct: int, first: int, wait: int, second: int, expected: bool
) -> None:
    best: Path = (leg("SCL-GRU", 0, direct),)
    connecting = (leg("SCL-LIM", 0, first), leg("LIM-GRU", first + wait, second))
    slow: Path = (leg("SCL-GRU", 0, 40 * HOUR),)
    assert sensible([slow, connecting, best]) == (
        [slow, connecting, best] if expected else [slow, best]
    )


def test_the_best_of_the_day_may_be_a_connection_itself() -> None:
    night: Path = (leg("SCL-LIM", 0, 60), leg("LIM-GRU", 60 + 23 * HOUR, 60))
    assert sensible([night]) == [night]
    quick: Path = (leg("SCL-EZE", 0, 60), leg("EZE-GRU", 120, 60))
    assert sensible([night, quick]) == [quick]
    assert sensible([]) == []


def test_one_that_leaves_earlier_arrives_later_and_is_no_cheaper_is_left_out() -> None:
    best = through("LIM", 60, 600, minor=500)
    for worse, is_left_out in [
        (through("LIM", 59, 601, minor=500), True),
        (through("LIM", 59, 601, minor=501), True),
        (through("LIM", 59, 601, minor=499), False),
        (through("LIM", 59, 601, minor=900, currency="USD"), False),
        (through("LIM", 59, 600, minor=900), False),
        (through("LIM", 60, 601, minor=900), False),
        (through("BOG", 59, 601, minor=900), False),
        (alone(59, 601, minor=900), False),
    ]:
        assert sorted(map(name, undominated([worse, best]))) == sorted(
            map(name, [best] if is_left_out else [best, worse])
        ), name(worse)


def test_a_flight_alone_leaves_no_connection_out() -> None:
    both = [alone(60, 120), through("LIM", 0, 600, minor=9)]
    assert len(undominated(both)) == 2


@given(
    st.lists(
        st.builds(
            through,
            station=st.sampled_from(["LIM", "BOG"]),
            departs=st.integers(0, 4),
            arrives=st.integers(200, 204),
            minor=st.sampled_from([1, 2, 3]),
            currency=st.sampled_from(["CLP", "USD"]),
            wait=st.sampled_from([60, 70]),
        ),
        max_size=14,
        unique_by=lambda one: (one.slice.flight_ids, one.price.total.currency),
    )
)
def test_what_is_left_out_is_what_any_other_beats(quotes: list[Quote]) -> None:
    expected = [one for one in quotes if not any(beats(other, one) for other in quotes)]
    assert sorted(map(name, undominated(quotes))) == sorted(map(name, expected))


def beats(one: Quote, other: Quote) -> bool:
    return (
        one.slice.first.destination == other.slice.first.destination
        and one.price.total.currency == other.price.total.currency
        and one.price.total.minor <= other.price.total.minor
        and time(one, 0) > time(other, 0)
        and time(one, -1) < time(other, -1)
    )


def time(quote: Quote, index: int) -> datetime:
    segment = quote.slice.segments[index].segment
    return (segment.arriving_at if index else segment.departing_at).utc


def name(quote: Quote) -> str:
    return " ".join([*quote.slice.flight_ids, quote.price.total.currency])
