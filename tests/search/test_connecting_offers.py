"""Flights that connect, from the search to the hold: one offer, both segments, all passengers."""

from collections.abc import Iterable
from datetime import datetime, timedelta

import pytest
import redis.asyncio
from sqlalchemy import text

from app.hold.errors import NotForSale, OfferExpired, SoldOut
from app.hold.model import ClassChoice
from app.ids import FlightId
from app.inventory.model import CabinName, Flight
from app.money import Money
from app.schedule.changes import CabinChange, ClassChange
from app.schedule.service import ScheduleService
from app.search.model import Offer, Sort
from app.search.paging import Position
from tests.builders.flights import Classes, cabin, flight
from tests.builders.holds import DEMO
from tests.builders.search import Shop, query
from tests.search.test_service import calls

PESOS: Classes = (("Y", 9, Money(30_000, "CLP")), ("M", 6, Money(20_000, "CLP")))
DOLLARS: Classes = (("Y", 9, Money(30_000, "USD")),)


def leg(
    flight_id: str,
    way: str,
    departs: str,
    arrives: str,
    *,
    zones: tuple[str, str] = ("UTC", "UTC"),
    classes: Classes = PESOS,
    business: Classes | None = None,
) -> Flight:
    """`way` is "SCL-LIM"; times are of March 2027, by the clocks of `zones`: "10 08:30"."""
    origin, destination = way.split("-")
    return flight(
        flight_id=f"flt_{flight_id}",
        origin=origin,
        destination=destination,
        departing=march(departs),
        departing_time_zone=zones[0],
        arriving=march(arrives),
        arriving_time_zone=zones[1],
        cabins=(cabin(classes),)
        if business is None
        else (cabin(business, name=CabinName.BUSINESS), cabin(classes)),
    )


def march(time: str) -> datetime:
    return datetime.fromisoformat(f"2027-03-{time.replace(' ', 'T')}")


FIRST = leg("a", "SCL-LIM", "10 08:00", "10 10:00")
SECOND = leg("b", "LIM-GRU", "10 12:00", "10 14:00")


async def test_two_flights_that_connect_are_one_offer(shop: Shop) -> None:
    cheaper: Classes = (("Y", 9, Money(9_000, "CLP")), ("Q", 3, Money(5_000, "CLP")))
    await shop.sells(FIRST, leg("b", "LIM-GRU", "10 12:00", "10 14:00", classes=cheaper))
    (offer,) = await shop.offers(query(adults=2, children=1, infants=1))
    (slice_,) = offer.slices
    assert [(one.segment.flight_id, one.segment.booking_class) for one in slice_.segments] == [
        ("flt_a", "M"),
        ("flt_b", "Q"),
    ]
    assert [one.seats_left for one in slice_.segments] == [6, 3]
    assert (slice_.first.origin, slice_.last.destination) == ("SCL", "GRU")
    assert offer.price.total == Money(75_000, "CLP")
    assert [line.each.minor for line in offer.price.passengers] == [25_000, 25_000, 0]
    choices = shop.tokens.open_offer(DEMO, offer.offer_id).segments
    assert choices == (
        ClassChoice(FlightId("flt_a"), FIRST.cabins[0].booking_classes[1].booking_class),
        ClassChoice(FlightId("flt_b"), slice_.last.booking_class),
    )


async def test_a_client_sees_one_slice_of_two_segments(shop: Shop) -> None:
    await shop.sells(FIRST, SECOND, leg("c", "SCL-GRU", "10 08:00", "10 13:00"))
    asked = {"origin": "SCL", "destination": "GRU", "departure_date": "2027-03-10"}
    async with shop.client() as client:
        both = (await client.get("/v1/offers", params=asked)).json()["data"]
        single = (await client.get("/v1/offers", params={**asked, "max_connections": 0})).json()
        again = (await client.get(f"/v1/offers/{both[1]['id']}")).json()
    assert [[len(slice_["segments"]) for slice_ in offer["slices"]] for offer in both] == [[1], [2]]
    assert again == both[1]
    (slice_,) = both[1]["slices"]
    assert (slice_["origin"], slice_["destination"], slice_["duration"]) == ("SCL", "GRU", "PT6H")
    assert [one["seats_left"] for one in slice_["segments"]] == [6, 6]
    assert len(single["data"]) == 1
    assert len(single["data"][0]["slices"][0]["segments"]) == 1


async def test_no_connections_where_none_are_asked_for(shop: Shop) -> None:
    await shop.sells(FIRST, SECOND, leg("c", "SCL-GRU", "10 08:00", "10 13:00"))
    assert sorted(await shop.ways()) == ["flt_a flt_b", "flt_c"]
    assert await shop.ways(query(max_connections=0)) == ["flt_c"]


@pytest.mark.parametrize(("station", "minutes"), [(None, 60), ("LIM", 45), ("LIM", 0), ("GRU", 60)])
async def test_the_minimum_connection_time_to_the_minute(
    shop: Shop, station: str | None, minutes: int
) -> None:
    if station is not None:
        await set_minutes(shop, station, minutes)
    at_least = march("10 10:00") + timedelta(minutes=minutes)
    for name, departs in (("b", at_least), ("c", at_least - timedelta(minutes=1))):
        await shop.sells(leg(name, "LIM-GRU", f"{departs:%d %H:%M}", "10 14:00"))
    await shop.sells(FIRST)
    assert await shop.ways() == ["flt_a flt_b"]


async def test_a_wait_of_a_day_at_most(shop: Shop) -> None:
    await shop.sells(
        FIRST,
        leg("b", "LIM-GRU", "11 10:00", "11 12:00"),
        leg("c", "LIM-GRU", "11 10:01", "11 12:01"),
    )
    assert await shop.ways() == ["flt_a flt_b"]


async def test_a_connection_over_night(shop: Shop) -> None:
    zones = ("America/Santiago", "America/Lima")
    await shop.sells(
        leg("a", "SCL-LIM", "10 22:00", "10 23:55", zones=zones),
        leg("b", "LIM-GRU", "11 07:30", "11 14:00", zones=("America/Lima", "America/Sao_Paulo")),
    )
    (offer,) = await shop.offers()
    first, last = offer.slices[0].first, offer.slices[0].last
    assert (first.departing_at.local.day, last.departing_at.local.day) == (10, 11)
    assert await shop.ways(query(departure_date=march("11 00:00").date())) == []
    assert (await shop.hold_offer(offer)).price == offer.price


@pytest.mark.parametrize(
    ("first", "second"),
    [
        # Eastward the second flight leaves the day before the first, by the calendars.
        (
            leg("a", "CXI-PPG", "10 10:00", "09 15:00", zones=("Etc/GMT-14", "Etc/GMT+11")),
            leg("b", "PPG-ANU", "09 17:00", "09 23:00", zones=("Etc/GMT+11", "Etc/GMT+11")),
        ),
        # Westward, over night, it leaves two days after it.
        (
            leg("a", "CXI-PPG", "10 10:00", "11 13:00", zones=("Etc/GMT+11", "Etc/GMT-14")),
            leg("b", "PPG-ANU", "12 12:30", "12 23:00", zones=("Etc/GMT-14", "Etc/GMT-14")),
        ),
        # Between: the same instants, each at a calendar of its own.
        (
            leg("a", "CXI-PPG", "10 23:30", "10 23:30", zones=("Etc/GMT-2", "Etc/GMT+2")),
            leg("b", "PPG-ANU", "11 00:30", "11 09:30", zones=("Etc/GMT+2", "Etc/GMT-5")),
        ),
    ],
)
async def test_across_the_date_line(shop: Shop, first: Flight, second: Flight) -> None:
    await shop.sells(first, second)
    assert await shop.ways(query(origin="CXI", destination="ANU")) == ["flt_a flt_b"]


async def test_only_ways_from_the_origin_to_the_destination(shop: Shop) -> None:
    await shop.sells(
        FIRST,
        SECOND,
        leg("c", "CUZ-GRU", "10 12:00", "10 14:00"),  # from another station
        leg("d", "LIM-BOG", "10 12:00", "10 14:00"),  # to another
        leg("e", "GRU-GIG", "10 17:00", "10 18:00"),
        leg("f", "GIG-GRU", "10 20:00", "10 21:00"),  # past the destination and back
        leg("g", "SCL-GRU", "10 06:00", "10 12:00"),
        leg("h", "LIM-SCL", "10 11:00", "10 13:00"),
        leg("i", "SCL-GRU", "10 15:00", "10 20:00"),  # back to the origin
        leg("j", "SCL-LIM", "09 08:00", "09 22:00"),  # the day before
    )
    assert sorted(await shop.ways()) == ["flt_a flt_b", "flt_g", "flt_i"]


async def test_both_flights_have_the_cabin(shop: Shop) -> None:
    dear: Classes = (("J", 4, Money(90_000, "CLP")),)
    await shop.sells(
        leg("a", "SCL-LIM", "10 08:00", "10 10:00", business=dear),
        SECOND,
        leg("c", "LIM-GRU", "10 15:00", "10 17:00", business=dear),
    )
    assert await shop.ways(query(cabin=CabinName.BUSINESS)) == ["flt_a flt_c"]
    assert sorted(await shop.ways()) == ["flt_a flt_b", "flt_a flt_c"]


async def test_one_currency_all_the_way(shop: Shop) -> None:
    await shop.sells(
        FIRST,
        leg("b", "LIM-GRU", "10 11:00", "10 12:00", classes=DOLLARS),
        leg("c", "SCL-LIM", "10 07:00", "10 10:00", classes=DOLLARS),
    )
    assert await shop.ways() == ["flt_c flt_b"]


async def test_what_cannot_be_sold_as_one_makes_nothing_a_detour(shop: Shop) -> None:
    """The quickest pair is priced in two currencies; the night's is the best that is for sale."""
    await shop.sells(
        FIRST,
        leg("b", "LIM-GRU", "10 11:00", "10 12:00", classes=DOLLARS),
        leg("c", "LIM-GRU", "11 09:00", "11 16:00"),
    )
    assert await shop.ways() == ["flt_a flt_c"]


async def test_detours_are_not_offered(shop: Shop) -> None:
    await shop.sells(
        FIRST,
        SECOND,
        leg("c", "SCL-GRU", "10 08:00", "10 10:00"),
        leg("d", "SCL-BOG", "10 08:00", "10 12:00"),
        leg("e", "BOG-GRU", "10 14:00", "10 18:00"),
        leg("f", "LIM-GRU", "11 09:00", "11 11:00"),
    )
    assert sorted(await shop.ways()) == ["flt_a flt_b", "flt_c"]


async def test_a_connection_that_another_beats_comes_when_that_is_full(shop: Shop) -> None:
    await shop.sells(
        leg("a", "SCL-LIM", "10 07:00", "10 09:00"),
        leg("b", "LIM-GRU", "10 16:00", "10 18:00"),
        leg("c", "SCL-LIM", "10 08:00", "10 10:00"),
        leg("d", "LIM-GRU", "10 12:00", "10 14:00"),
    )
    shorter = ["flt_a flt_d", "flt_c flt_b", "flt_c flt_d"]
    assert sorted(await shop.ways()) == shorter
    await shop.hold("flt_c", "Y", 9)
    assert sorted(await shop.ways()) == ["flt_a flt_b", "flt_a flt_d"]


async def test_a_connection_whose_first_flight_left_is_not_offered(shop: Shop) -> None:
    await shop.sells(FIRST, SECOND)
    shop.moment.now = FIRST.departing_at.utc - timedelta(microseconds=1)
    (offer,) = await shop.offers()
    shop.moment.now = FIRST.departing_at.utc
    assert await shop.ways() == []
    with pytest.raises(NotForSale):
        await shop.search.offer(DEMO, offer.offer_id)


async def test_all_passengers_fly_all_the_way(shop: Shop) -> None:
    await shop.sells(FIRST, SECOND)
    await shop.hold("flt_b", "Y", 5)
    assert await seats(shop, adults=4) == [("M", 6), ("M", 4)]
    assert await seats(shop, adults=2, children=2, infants=2) == [("M", 6), ("M", 4)]
    await shop.hold("flt_a", "M", 4)
    assert await seats(shop, adults=2) == [("M", 2), ("M", 4)]
    assert await seats(shop, adults=4) == [("Y", 5), ("M", 4)], "the first in a dearer class"
    assert await seats(shop, adults=5) == [], "the second has four"


async def test_both_segments_are_held_at_once(shop: Shop) -> None:
    await shop.sells(FIRST, SECOND)
    (offer,) = await shop.offers(query(adults=2))
    hold = await shop.hold_offer(offer)
    assert [segment.flight_id for segment in hold.segments] == ["flt_a", "flt_b"]
    assert hold.price == offer.price
    assert await held(shop) == {"flt_a": 2, "flt_b": 2}
    await shop.holds.release(DEMO, hold.hold_id)
    assert await held(shop) == {"flt_a": 0, "flt_b": 0}


@pytest.mark.parametrize(("full", "other"), [("flt_a", "flt_b"), ("flt_b", "flt_a")])
async def test_nothing_is_held_where_one_segment_is_full(shop: Shop, full: str, other: str) -> None:
    await shop.sells(FIRST, SECOND)
    (offer,) = await shop.offers(query(adults=2))
    await shop.hold(full, "M", 5)
    for attempt in (shop.hold_offer(offer), shop.search.offer(DEMO, offer.offer_id)):
        with pytest.raises(SoldOut) as refused:
            await attempt
        (violation,) = refused.value.violations
        assert (violation.at, violation.facts["flight_id"]) == ("/offer_id", full)
        assert (violation.facts["requested"], violation.facts["open"]) == (2, 1)
    assert await held(shop) == {full: 5, other: 0}


async def test_a_rechecked_connection(shop: Shop) -> None:
    await shop.sells(FIRST, SECOND)
    (offer,) = await shop.offers()
    await change(shop, "flt_b", ClassChange("M", limit=2))
    again = await shop.search.offer(DEMO, offer.offer_id)
    assert (again.offer_id, again.price) == (offer.offer_id, offer.price)
    assert [one.seats_left for one in again.slices[0].segments] == [6, 2]
    await change(shop, "flt_b", ClassChange("M", fare=Money(25_000, "CLP")))
    new = await shop.search.offer(DEMO, offer.offer_id)
    assert new.supersedes == offer.offer_id
    assert new.price.total == Money(45_000, "CLP")
    assert (await shop.hold_offer(new)).price == new.price


async def test_a_connection_that_fell_apart_cannot_be_had(shop: Shop) -> None:
    await shop.sells(FIRST, SECOND)
    (offer,) = await shop.offers()
    await set_minutes(shop, "LIM", 120)
    assert (await shop.search.offer(DEMO, offer.offer_id)).offer_id == offer.offer_id
    await set_minutes(shop, "LIM", 121)
    with pytest.raises(OfferExpired):
        await shop.search.offer(DEMO, offer.offer_id)


async def test_a_connection_of_two_currencies_cannot_be_had_any_more(shop: Shop) -> None:
    await shop.sells(FIRST, SECOND)
    (offer,) = await shop.offers()
    schedule = ScheduleService(shop.core.database, shop.core.availability, shop.moment)
    in_dollars: Classes = (("Y", 9, Money(200, "USD")), ("M", 6, Money(100, "USD")))
    await schedule.put(leg("b", "LIM-GRU", "10 12:00", "10 14:00", classes=in_dollars))
    with pytest.raises(SoldOut) as refused:
        await shop.search.offer(DEMO, offer.offer_id)
    assert [one.facts["flight_id"] for one in refused.value.violations] == ["flt_b"]
    assert await shop.ways() == []


async def test_connections_take_one_script_call(shop: Shop, empty_redis: str) -> None:
    await shop.sells(*grid(5), leg("direct", "SCL-GRU", "10 08:00", "10 16:00"))
    client = redis.asyncio.Redis.from_url(empty_redis)
    try:
        await shop.offers()
        before = await calls(client)
        assert len(await shop.offers()) == 26
        assert await calls(client) - before == 1
    finally:
        await client.aclose()


@pytest.mark.parametrize("sort", Sort)
@pytest.mark.parametrize("limit", [1, 3, 7])
async def test_pages_of_connections_while_seats_go(shop: Shop, sort: Sort, limit: int) -> None:
    """Between the pages a flight gets dearer, and with it all ways that use it."""
    await shop.sells(*grid(4), leg("direct", "SCL-GRU", "10 08:00", "10 16:00"))
    every = set(await shop.ways(query(sort=sort)))
    assert len(every) == 17
    told: list[str] = []
    dearer: set[str] = set()
    after: Position | None = None
    while not told or after is not None:
        page, after = await shop.search.offers(DEMO, query(sort=sort), after, limit)
        told += [way(offer) for offer in page]
        first = page[0].slices[0].flight_ids[0]
        if first not in dearer:
            dearer.add(first)
            await shop.hold(first, "M", 6)
    assert len(told) == len(set(told))
    assert set(told) == every


@pytest.mark.parametrize("sort", Sort)
async def test_the_order_is_of_whole_ways(shop: Shop, sort: Sort) -> None:
    price = {
        name: (("Y", 9, Money(minor, "CLP")),) for name, minor in zip("ab", (7, 1), strict=True)
    }
    await shop.sells(
        leg("a", "SCL-LIM", "10 08:00", "10 10:00", classes=price["b"]),
        leg("b", "LIM-GRU", "10 12:00", "10 15:00", classes=price["b"]),
        leg("c", "SCL-GRU", "10 09:00", "10 13:00", classes=price["a"]),
        leg("d", "SCL-BOG", "10 07:00", "10 09:00", classes=price["b"]),
        leg("e", "BOG-GRU", "10 11:00", "10 12:00", classes=price["a"]),
    )
    expected = {
        Sort.PRICE: ["flt_a flt_b", "flt_c", "flt_d flt_e"],
        Sort.DEPARTURE: ["flt_d flt_e", "flt_a flt_b", "flt_c"],
        Sort.DURATION: ["flt_c", "flt_d flt_e", "flt_a flt_b"],
    }
    assert await shop.ways(query(sort=sort)) == expected[sort]


def grid(size: int) -> Iterable[Flight]:
    """Each of the first flights connects to each of the second, and none beats another."""
    for n in range(size):
        yield leg(f"first-{n}", "SCL-LIM", "10 08:00", "10 10:00")
        yield leg(f"second-{n}", "LIM-GRU", f"10 12:0{n}", "10 14:00")


def way(offer: Offer) -> str:
    return " ".join(offer.slices[0].flight_ids)


async def seats(shop: Shop, **counts: int) -> list[tuple[str, int]]:
    """Class and seats left of each segment of the only offer."""
    adults, children = counts.get("adults", 1), counts.get("children", 0)
    asked = query(adults=adults, children=children, infants=counts.get("infants", 0))
    found = [
        [(one.segment.booking_class, one.seats_left) for one in offer.slices[0].segments]
        for offer in await shop.offers(asked)
    ]
    return [(str(letter), left) for segments in found for letter, left in segments]


async def held(shop: Shop) -> dict[str, int]:
    found = {}
    for flight_id in ("flt_a", "flt_b"):
        counts = (await shop.search.availability(FlightId(flight_id))).counts
        found[flight_id] = sum(counts[CabinName.ECONOMY].held)
    return found


async def change(shop: Shop, flight_id: str, *classes: ClassChange) -> None:
    schedule = ScheduleService(shop.core.database, shop.core.availability, shop.moment)
    await schedule.patch(FlightId(flight_id), [CabinChange(CabinName.ECONOMY, classes)])


async def set_minutes(shop: Shop, station: str, minutes: int) -> None:
    statement = text(
        "INSERT INTO minimum_connection_times VALUES (:station, :minutes)"
        " ON CONFLICT (station) DO UPDATE SET minutes = excluded.minutes"
    )
    values = {"station": station, "minutes": minutes}
    await shop.core.database.run_in_transaction(lambda session: session.execute(statement, values))
