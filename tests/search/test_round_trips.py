"""There and back: what is combined, priced together, told in pages, and held by one hold."""

from datetime import timedelta

import pytest

from app.errors import ValidationFailed
from app.hold.errors import OfferExpired, SoldOut
from app.inventory.model import Flight
from app.money import Money
from app.search.model import Offer, SearchQuery, Sort
from app.search.round_trips import PATHS_MAX
from tests.builders.flights import DEPARTING, Classes, flight
from tests.builders.holds import DEMO
from tests.builders.search import DAY, Shop, query

BACK = DEPARTING + timedelta(days=3)


def fares(minor: int, seats: int = 10, currency: str = "USD") -> Classes:
    return (("Y", seats, Money(minor, currency)),)


def back(flight_id: str, minor: int = 20_000, **terms: object) -> Flight:
    given = {"origin": "GRU", "destination": "SCL", "departing": BACK, "classes": fares(minor)}
    return flight(flight_id=flight_id, **{**given, **terms})  # type: ignore[arg-type]


def round_trip(**terms: object) -> SearchQuery:
    return query(**{"return_date": BACK.date(), **terms})  # type: ignore[arg-type]


def ways(offers: list[Offer]) -> list[tuple[str, str, int]]:
    """Flights there, flights back, and the price of both in whole units."""
    return [
        (" ".join(there.flight_ids), " ".join(home.flight_ids), offer.price.total.minor // 100)
        for offer in offers
        for there, home in [offer.slices]
    ]


async def test_every_way_there_with_every_way_back_from_the_cheapest(shop: Shop) -> None:
    await shop.sells(
        flight(flight_id="flt_a", classes=fares(10_000)),
        flight(flight_id="flt_b", classes=fares(15_000), departing=DEPARTING + timedelta(hours=1)),
        back("flt_x", 20_000),
        back("flt_y", 22_000, departing=BACK + timedelta(hours=2)),
    )
    offers = await shop.offers(round_trip(adults=2))
    assert ways(offers) == [
        ("flt_a", "flt_x", 600),
        ("flt_a", "flt_y", 640),
        ("flt_b", "flt_x", 700),
        ("flt_b", "flt_y", 740),
    ]
    by_departure = await shop.offers(round_trip(sort=Sort.DEPARTURE))
    assert [one[:2] for one in ways(by_departure)][:2] == [("flt_a", "flt_x"), ("flt_a", "flt_y")]
    assert len(await shop.offers(query())) == 2, "one way is as it was"


async def test_one_hold_holds_both_ways(shop: Shop) -> None:
    await shop.sells(flight(flight_id="flt_a", classes=fares(10_000)), back("flt_x"))
    (offer,) = await shop.offers(round_trip())
    hold = await shop.hold_offer(offer)
    assert [one.flight_id for one in hold.segments] == ["flt_a", "flt_x"]
    assert hold.price == offer.price
    again = await shop.search.offer(DEMO, offer.offer_id)
    assert [one.flight_ids for one in again.slices] == [("flt_a",), ("flt_x",)]
    assert again.offer_id == offer.offer_id
    await shop.hold("flt_x", "Y", 9)
    assert await shop.offers(round_trip()) == []
    with pytest.raises(SoldOut):
        await shop.search.offer(DEMO, offer.offer_id)


async def test_connections_on_both_ways(shop: Shop) -> None:
    await shop.sells(
        flight(flight_id="flt_a", destination="LIM", classes=fares(1_000)),
        flight(
            flight_id="flt_b",
            origin="LIM",
            classes=fares(1_000),
            departing=DEPARTING + timedelta(hours=8),
        ),
        back("flt_x", 1_000, destination="LIM"),
        flight(
            flight_id="flt_y",
            origin="LIM",
            destination="SCL",
            classes=fares(1_000),
            departing=BACK + timedelta(hours=8),
        ),
    )
    (offer,) = await shop.offers(round_trip())
    assert ways([offer]) == [("flt_a flt_b", "flt_x flt_y", 40)]
    again = await shop.search.offer(DEMO, offer.offer_id)
    assert [len(one.segments) for one in again.slices] == [2, 2]
    assert len((await shop.hold_offer(offer)).segments) == 4


async def test_what_cannot_be_flown_or_priced_together_is_not_offered(shop: Shop) -> None:
    day = {"return_date": DAY}
    there = flight(flight_id="flt_a", classes=fares(1_000))
    leaves = there.arriving_at.local + timedelta(hours=1)
    await shop.sells(
        there,
        back("flt_soon", departing=leaves - timedelta(minutes=1)),
        back("flt_late", departing=leaves),
        back("flt_other", departing=leaves, classes=fares(1_000, currency="BRL")),
    )
    assert ways(await shop.offers(round_trip(**day))) == [("flt_a", "flt_late", 210)]
    with pytest.raises(ValidationFailed):
        await shop.offers(round_trip(return_date=DAY - timedelta(days=1)))


async def test_pages_of_a_whole_that_is_bounded(shop: Shop) -> None:
    many = PATHS_MAX + 2
    await shop.sells(
        *(
            flight(
                flight_id=f"flt_a{n:02}",
                classes=fares(1_000 + 100 * n),
                departing=DEPARTING + timedelta(minutes=n),
            )
            for n in range(many)
        ),
        *(back(f"flt_x{n}", 1_000 + 7_000 * n) for n in range(3)),
    )
    told: list[tuple[str, str, int]] = []
    after = None
    search = shop.search
    while True:
        page, after = await search.offers(DEMO, round_trip(), after, 50)
        told += ways(page)
        if after is None:
            break
    assert len(told) == len(set(told)) == PATHS_MAX * 3
    assert [price for _, _, price in told] == sorted(price for _, _, price in told)
    assert {there for there, _, _ in told} == {f"flt_a{n:02}" for n in range(PATHS_MAX)}


async def test_an_offer_stands_for_its_times(shop: Shop) -> None:
    """A flight that nobody has a seat on may be put at another time; who was offered the old one is
    not sold the new one unawares.
    """
    await shop.sells(flight(flight_id="flt_a", classes=fares(1_000)), back("flt_x"))
    (offer,) = await shop.offers(round_trip())
    moved = back("flt_x", departing=BACK + timedelta(hours=1))
    await shop.schedule.put(moved)
    with pytest.raises(OfferExpired):
        await shop.hold_offer(offer)
    new = await shop.search.offer(DEMO, offer.offer_id)
    assert new.supersedes == offer.offer_id
    assert new.price == offer.price
    assert (await shop.hold_offer(new)).segments[1].departing_at == moved.departing_at
