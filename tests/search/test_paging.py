"""Pages of offers: together the whole list, each flight once, whatever becomes of seats in between."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ids import FlightId
from app.search.model import Sort
from app.search.paging import Position, Quote, page_of
from tests.builders.search import quote

quotes = st.lists(
    st.builds(
        quote,
        flight_id=st.sampled_from([f"flt_{letter}" for letter in "abcdefghij"]),
        minor=st.sampled_from([0, 900, 1_000, 20_000]),
        currency=st.sampled_from(["CLP", "USD"]),
        hours=st.integers(0, 3),
        minutes=st.sampled_from([60, 90, 600]),
    ),
    max_size=10,
    unique_by=lambda one: one.segment.flight_id,
)
sorts = st.sampled_from(Sort)
limits = st.integers(1, 4)


@given(quotes, sorts, limits)
def test_the_pages_are_the_whole_list(listed: list[Quote], sort: Sort, limit: int) -> None:
    whole, after = page_of(listed, day_of(listed), sort, None, 200)
    assert after is None
    assert sorted(map(flight_id, whole)) == sorted(map(flight_id, listed))
    assert [one for page in pages(listed, sort, limit) for one in page] == whole


@given(quotes, sorts, limits, st.data())
def test_a_seat_that_goes_doubles_nothing_and_loses_nothing(
    listed: list[Quote], sort: Sort, limit: int, data: st.DataObject
) -> None:
    day = day_of(listed)
    told: list[Quote] = []
    dearer: set[str] = set()
    now = {flight_id(one): one for one in listed}
    after: Position | None = None
    while True:
        page, after = page_of(list(now.values()), day, sort, after, limit)
        told += page
        if after is None:
            break
        changed = data.draw(st.sampled_from(sorted(now)))
        if data.draw(st.booleans()):
            del now[changed]  # sold out
        else:
            now[changed] = at_price(now[changed], 50_000)
        dearer.add(changed)
    ids = [flight_id(one) for one in told]
    assert len(ids) == len(set(ids))
    assert set(map(flight_id, listed)) - set(ids) <= dearer


@given(quotes, limits, st.integers(0, 9))
def test_where_the_day_was_changed_the_place_decides(
    listed: list[Quote], limit: int, cut: int
) -> None:
    day = day_of(listed)
    first, after = page_of(listed, day, Sort.DEPARTURE, None, limit)
    if after is None:
        return
    rest, _ = page_of(listed, [FlightId("flt_new"), *day], Sort.DEPARTURE, after, 200)
    whole, _ = page_of(listed, day, Sort.DEPARTURE, None, 200)
    assert first + rest == whole


def test_by_price_then_departure_then_id() -> None:
    listed = [
        quote("flt_d", minor=2_000),
        quote("flt_c", minor=1_000, hours=2),
        quote("flt_b", minor=1_000),
        quote("flt_a", minor=1_000),
        quote("flt_e", minor=10, currency="USD"),
        quote("flt_f", minor=90_000, currency="CLP", hours=1),
    ]
    assert ids(listed, Sort.PRICE) == ["flt_a", "flt_b", "flt_c", "flt_d", "flt_f", "flt_e"]


def test_by_departure_then_id() -> None:
    listed = [quote("flt_b", minor=1), quote("flt_c", hours=-1, minor=9), quote("flt_a", minor=5)]
    assert ids(listed, Sort.DEPARTURE) == ["flt_c", "flt_a", "flt_b"]


def test_by_duration_then_departure_then_id() -> None:
    listed = [
        quote("flt_b", minutes=60, hours=1),
        quote("flt_a", minutes=600),
        quote("flt_d", minutes=60),
        quote("flt_c", minutes=60),
        quote("flt_e", minutes=30, hours=3),
    ]
    assert ids(listed, Sort.DURATION) == ["flt_e", "flt_c", "flt_d", "flt_b", "flt_a"]


@pytest.mark.parametrize("sort", Sort)
def test_the_last_full_page_says_that_it_is_the_last(sort: Sort) -> None:
    listed = [quote("flt_a"), quote("flt_b")]
    assert page_of(listed, day_of(listed), sort, None, 2)[1] is None
    assert page_of(listed, day_of(listed), sort, None, 1)[1] is not None
    assert page_of([], [], sort, None, 1) == ([], None)


def test_the_position_of_the_longest_day_is_bounded() -> None:
    day = [FlightId(f"flt_{number:060}") for number in range(500)]
    listed = [quote(day[-1]), quote(day[0])]
    _, after = page_of(listed, day, Sort.PRICE, None, 1)
    assert after is not None
    assert len(repr(after)) < 400


def pages(listed: Sequence[Quote], sort: Sort, limit: int) -> list[list[Quote]]:
    found: list[list[Quote]] = []
    after: Position | None = None
    while not found or after is not None:
        page, after = page_of(listed, day_of(listed), sort, after, limit)
        found.append(page)
    return found


def ids(listed: Sequence[Quote], sort: Sort) -> list[str]:
    whole, _ = page_of(listed, day_of(listed), sort, None, 200)
    return [flight_id(one) for one in whole]


def day_of(listed: Sequence[Quote]) -> list[FlightId]:
    return sorted(flight_id(one) for one in listed)


def flight_id(one: Quote) -> FlightId:
    return one.segment.flight_id


def at_price(one: Quote, minor: int) -> Quote:
    total = one.price.total
    segment = one.segment
    moved = quote(segment.flight_id, minor=minor, currency=total.currency)
    return Quote(segment, one.seats_left, moved.price)
