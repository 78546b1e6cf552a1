"""Pages of offers: together the whole list, each way once, whatever becomes of seats in between."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ids import FlightId
from app.inventory.itinerary import Segment
from app.inventory.model import BookingClass, CabinName, LocalTime
from app.money import Money
from app.search.model import Quote, Sort
from app.search.paging import Position, page_of
from tests.builders.search import NOW, quote, quote_of

Ids = tuple[FlightId, ...]


def way(flight_ids: Sequence[str], minor: int, currency: str, hours: int, minutes: int) -> Quote:
    """Departs `hours` later than others and is `minutes` under way; every flight takes a share."""
    share = timedelta(minutes=minutes) / len(flight_ids)
    departing = NOW + timedelta(hours=hours)
    times = [
        LocalTime((departing + n * share).replace(tzinfo=None), "UTC", departing + n * share)
        for n in range(len(flight_ids) + 1)
    ]
    return quote_of(
        *(
            Segment(
                FlightId(flight_id),
                "LA",
                "1",
                "SCL",
                "GRU",
                times[n],
                times[n + 1],
                CabinName.ECONOMY,
                BookingClass("Y"),
                Money(minor, currency),
            )
            for n, flight_id in enumerate(flight_ids)
        )
    )


# Few flights and few values: ways share flights, start alike and cost alike.
quotes = st.lists(
    st.builds(
        way,
        flight_ids=st.lists(
            st.sampled_from([f"flt_{letter}" for letter in "abcde"]),
            min_size=1,
            max_size=2,
            unique=True,
        ),
        minor=st.sampled_from([0, 900, 1_000, 20_000]),
        currency=st.sampled_from(["CLP", "USD"]),
        hours=st.integers(0, 3),
        minutes=st.sampled_from([60, 90, 600]),
    ),
    max_size=12,
    unique_by=lambda one: one.slice.flight_ids,
)
sorts = st.sampled_from(Sort)
limits = st.integers(1, 4)


@given(quotes, sorts, limits)
def test_the_pages_are_the_whole_list(listed: list[Quote], sort: Sort, limit: int) -> None:
    whole, after = page_of(listed, day_of(listed), sort, None, 200)
    assert after is None
    assert sorted(map(flight_ids, whole)) == sorted(map(flight_ids, listed))
    assert [one for page in pages(listed, sort, limit) for one in page] == whole


@given(quotes, sorts, limits, st.data())
def test_a_seat_that_goes_doubles_nothing_and_loses_nothing(
    listed: list[Quote], sort: Sort, limit: int, data: st.DataObject
) -> None:
    day = day_of(listed)
    told: list[Quote] = []
    dearer: set[Ids] = set()
    now = {flight_ids(one): one for one in listed}
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
    ids = [flight_ids(one) for one in told]
    assert len(ids) == len(set(ids))
    assert set(map(flight_ids, listed)) - set(ids) <= dearer


@given(quotes, limits, st.integers(0, 9))
def test_where_the_day_was_changed_the_place_decides(
    listed: list[Quote], limit: int, cut: int
) -> None:
    day = day_of(listed)
    first, after = page_of(listed, day, Sort.DEPARTURE, None, limit)
    if after is None:
        return
    rest, _ = page_of(listed, [(FlightId("flt_new"),), *day], Sort.DEPARTURE, after, 200)
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


def test_a_way_alone_and_as_a_part_of_others_are_three() -> None:
    listed = [
        way(ids_, 1_000, "CLP", 0, 60)
        for ids_ in (["flt_a"], ["flt_a", "flt_b"], ["flt_a", "flt_c"], ["flt_b", "flt_a"])
    ]
    listed = [at_price(one, 1_000) for one in listed]
    for sort in Sort:
        assert [one for page in pages(listed, sort, 1) for one in page] == listed


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
    alone = [(FlightId(f"flt_{number:060}"),) for number in range(500)]
    connecting = [(*one, *other) for one, other in zip(alone, alone[200:400], strict=False)]
    listed = [way(connecting[-1], 1, "CLP", 0, 60), way(connecting[0], 1, "CLP", 0, 60)]
    day = [*alone, *connecting]
    _, after = page_of(listed, day, Sort.PRICE, None, 1)
    assert after is not None
    assert len(day) == 700
    assert len(repr(after)) < 450


def pages(listed: Sequence[Quote], sort: Sort, limit: int) -> list[list[Quote]]:
    found: list[list[Quote]] = []
    after: Position | None = None
    while not found or after is not None:
        page, after = page_of(listed, day_of(listed), sort, after, limit)
        found.append(page)
    return found


def ids(listed: Sequence[Quote], sort: Sort) -> list[str]:
    whole, _ = page_of(listed, day_of(listed), sort, None, 200)
    return [" ".join(flight_ids(one)) for one in whole]


def day_of(listed: Sequence[Quote]) -> list[Ids]:
    return sorted(map(flight_ids, listed))


def flight_ids(one: Quote) -> Ids:
    return one.slice.flight_ids


def at_price(one: Quote, minor: int) -> Quote:
    total = Money(minor, one.price.total.currency)
    return Quote(one.slices, replace(one.price, total=total))
