"""What is offered follows the seats: held, run out, given back, sold, cut and put at another price."""

import asyncio
from datetime import datetime, timedelta

import pytest
import redis.asyncio
from sqlalchemy import text

from app.errors import HoldStoreUnavailable, NotFound, ValidationFailed
from app.hold.errors import NotForSale, OfferExpired, PriceChanged, SoldOut
from app.ids import FlightId
from app.inventory.model import CabinName, ClassStatus
from app.money import Money
from app.schedule.changes import CabinChange, ClassChange
from app.schedule.service import ScheduleService
from app.search.model import Offer, Sort
from app.search.paging import Position
from app.wiring import watching
from tests.builders.flights import DEPARTING, Classes, cabin, flight, put_flights
from tests.builders.holds import DEMO, RIVAL
from tests.builders.search import NOW, Shop, facts, query
from tests.search.conftest import StartShop

A, B, C = "flt_a", "flt_b", "flt_c"
THREE: Classes = (
    ("Y", 10, Money(30_000, "CLP")),
    ("M", 6, Money(20_000, "CLP")),
    ("Q", 2, Money(10_000, "CLP")),
)


async def test_the_cheapest_class_that_has_the_seats(shop: Shop) -> None:
    await shop.sells(flight(flight_id=A, classes=THREE))
    assert await shop.seats() == [(A, "Q", 2)]
    assert await shop.seats(query(adults=2)) == [(A, "Q", 2)]
    assert await shop.seats(query(adults=2, infants=2)) == [(A, "Q", 2)], "a lap is no seat"
    assert await shop.seats(query(adults=2, children=1)) == [(A, "M", 6)]
    assert await shop.seats(query(adults=7)) == [(A, "Y", 9)], "ten are shown as nine"
    assert await shop.seats(query(adults=9)) == [(A, "Y", 9)]


async def test_seats_taken_above_and_below_close_a_class(shop: Shop) -> None:
    await shop.sells(flight(flight_id=A, classes=THREE))
    await shop.hold(A, "Y", 9)
    assert await shop.seats() == [(A, "Q", 1)], "one left in all, and Q may have it"
    await shop.hold(A, "Q")
    assert await shop.seats() == []


async def test_an_offer_says_all_of_it(shop: Shop) -> None:
    await shop.sells(flight(flight_id=A, classes=THREE))
    (offer,) = await shop.offers(query(adults=2, children=1, infants=1))
    assert offer.expires_at == NOW + timedelta(minutes=20)
    assert offer.price.total == Money(60_000, "CLP")
    assert [(line.type, line.count, line.each.minor) for line in offer.price.passengers] == [
        ("ADT", 2, 20_000),
        ("CHD", 1, 20_000),
        ("INF", 1, 0),
    ]
    assert offer.supersedes is None
    terms = shop.tokens.open_offer(DEMO, offer.offer_id)
    assert (terms.price, terms.passengers) == (offer.price, offer.passengers)


async def test_an_offer_can_be_held_at_its_price(shop: Shop) -> None:
    await shop.sells(flight(flight_id=A, classes=THREE))
    (offer,) = await shop.offers(query(adults=2))
    hold = await shop.hold_offer(offer)
    assert hold.price == offer.price
    assert await shop.seats() == [(A, "M", 4)]


async def test_seats_come_back_within_a_second_of_an_expiry(start_shop: StartShop) -> None:
    shop = await start_shop(ttl=timedelta(milliseconds=300))
    await shop.sells(flight(flight_id=A, classes=THREE))
    async with watching(shop.core):
        await shop.hold(A, "Q", 2)
        assert await shop.seats() == [(A, "M", 4)]
        async with asyncio.timeout(0.3 + 1.0):
            while await shop.seats() != [(A, "Q", 2)]:  # noqa: ASYNC110 - the store's own clock
                await asyncio.sleep(0.02)


async def test_released_seats_are_offered_and_sold_ones_are_not(shop: Shop) -> None:
    await shop.sells(flight(flight_id=A, classes=THREE))
    hold = await shop.hold(A, "Q", 2)
    assert await shop.seats() == [(A, "M", 4)]
    await shop.holds.release(DEMO, hold.hold_id)
    assert await shop.seats() == [(A, "Q", 2)]
    await shop.sell(await shop.hold(A, "Q", 2), 3)
    assert await shop.seats() == [(A, "M", 4)]


async def test_all_flights_of_an_answer_take_one_script_call(shop: Shop, empty_redis: str) -> None:
    await shop.sells(*(flight(flight_id=f"flt_{number}", classes=THREE) for number in range(60)))
    client = redis.asyncio.Redis.from_url(empty_redis)
    try:
        await shop.offers()
        before = await calls(client)
        assert len(await shop.offers()) == 60
        assert await calls(client) - before == 1
        assert await shop.offers(query(destination="LIM")) == []
        assert await calls(client) - before == 1, "nothing to ask about"
    finally:
        await client.aclose()


async def test_search_answers_while_the_hold_store_is_away(shop: Shop) -> None:
    """By what is sold; what is held is not known, and no hold can be placed meanwhile."""
    await shop.sells(flight(flight_id=A, classes=THREE))
    await shop.sell(await shop.hold(A, "Q"), 3)
    (offer,) = await shop.offers()
    await shop.hold(A, "Q")
    assert await shop.seats() == [(A, "M", 4)]
    await execute(shop, "UPDATE redis_epoch SET mode = 'rebuilding'")
    shop.core.epochs.forget(await shop.core.epochs.number())
    assert await shop.seats() == [(A, "Q", 1)]
    assert facts(await shop.search.offer(DEMO, offer.offer_id)) == (A, "Q", 1)
    assert await shop.seats(query(destination="LIM")) == []
    with pytest.raises(HoldStoreUnavailable):
        await shop.hold_offer(offer)


@pytest.mark.parametrize(
    ("local", "time_zone"),
    [("2027-03-10T00:30", "Pacific/Auckland"), ("2027-03-10T23:30", "America/Santiago")],
)
async def test_a_day_is_the_origins_own(shop: Shop, local: str, time_zone: str) -> None:
    departing = datetime.fromisoformat(local)
    at_night = flight(
        flight_id=A,
        departing=departing,
        departing_time_zone=time_zone,
        arriving=departing + timedelta(hours=20),
    )
    assert at_night.departing_at.utc.date() != departing.date()
    await shop.sells(at_night)
    assert [offer[0] for offer in await shop.seats()] == [A]
    assert await shop.seats(query(departure_date=at_night.departing_at.utc.date())) == []


async def test_only_the_market_the_day_and_the_cabin_asked_for(shop: Shop) -> None:
    business = cabin((("J", 4, Money(90_000, "CLP")),), name=CabinName.BUSINESS)
    await shop.sells(
        flight(flight_id=A, cabins=(business, cabin())),
        flight(flight_id=B, destination="LIM"),
        flight(flight_id=C, departing=DEPARTING + timedelta(days=1)),
    )
    assert await shop.seats() == [(A, "M", 6)]
    assert await shop.seats(query(cabin=CabinName.BUSINESS)) == [(A, "J", 4)]
    assert await shop.seats(query(cabin=CabinName.FIRST)) == []
    assert await shop.seats(query(origin="GRU", destination="SCL")) == []


async def test_a_flight_that_left_is_not_offered(shop: Shop) -> None:
    first = flight(flight_id=A)
    await shop.sells(first, flight(flight_id=B, departing=DEPARTING + timedelta(hours=2)))
    shop.moment.now = first.departing_at.utc - timedelta(microseconds=1)
    assert [offer[0] for offer in await shop.seats()] == [A, B]
    shop.moment.now = first.departing_at.utc
    assert [offer[0] for offer in await shop.seats()] == [B]
    shop.moment.now += timedelta(days=400)
    assert await shop.seats() == []


async def test_a_flight_new_to_the_hold_store_is_offered_and_one_it_knows_otherwise_is_not(
    shop: Shop,
) -> None:
    await shop.sells(flight(flight_id=A), flight(flight_id=B))
    await put_flights(shop.core.database, flight(flight_id=C))
    await execute(
        shop,
        "UPDATE inventory SET booking_classes = '{Y,M,Q}', fares = '{3,2,1}', limits = '{9,9,9}',"
        " ceilings = '{9,9,9}', sold = '{0,0,0}' WHERE flight_id = 'flt_b'",
    )
    assert [offer[0] for offer in await shop.seats()] == [A, C]


async def test_what_cannot_be_searched_for(shop: Shop) -> None:
    for asked, parameters in (
        (query(adults=5, children=5), ["children"]),
        (query(adults=1, infants=2), ["infants"]),
        (query(adults=4, children=6, infants=5), ["children", "infants"]),
        (query(destination="SCL"), ["destination"]),
    ):
        with pytest.raises(ValidationFailed) as refused:
            await shop.offers(asked)
        assert [violation.at for violation in refused.value.violations] == parameters
        assert {violation.place for violation in refused.value.violations} == {"parameter"}


@pytest.mark.parametrize("sort", Sort)
async def test_pages_while_seats_go(shop: Shop, sort: Sort) -> None:
    """Five flights one an hour; between the pages the first one told moves behind all others."""
    await shop.sells(
        *(
            flight(
                flight_id=f"flt_{number}",
                departing=DEPARTING + timedelta(hours=number),
                classes=(("Y", 9, Money(90_000 + number, "CLP")), ("M", 1, Money(number, "CLP"))),
            )
            for number in range(5)
        )
    )
    asked = query(sort=sort)
    told: list[Offer] = []
    after: Position | None = None
    while not told or after is not None:
        page, after = await shop.search.offers(DEMO, asked, after, 2)
        told += page
        await shop.hold(facts(page[0])[0], "M")
    assert [facts(offer)[:2] for offer in told] == [(f"flt_{number}", "M") for number in range(5)]


async def test_a_rechecked_offer_is_the_same_with_the_seats_of_now(shop: Shop) -> None:
    await shop.sells(flight(flight_id=A, classes=THREE))
    (offer,) = await shop.offers()
    await shop.hold(A, "Q")
    shop.moment.now += timedelta(minutes=5)
    again = await shop.search.offer(DEMO, offer.offer_id)
    assert (again.offer_id, again.expires_at) == (offer.offer_id, offer.expires_at)
    assert (again.price, again.supersedes) == (offer.price, None)
    assert facts(again) == (A, "Q", 1)


async def test_an_offer_ends_exactly_at_its_expiry(shop: Shop) -> None:
    await shop.sells(flight(flight_id=A))
    (offer,) = await shop.offers()
    shop.moment.now = offer.expires_at - timedelta(microseconds=1)
    assert (await shop.search.offer(DEMO, offer.offer_id)).offer_id == offer.offer_id
    shop.moment.now = offer.expires_at
    with pytest.raises(OfferExpired):
        await shop.search.offer(DEMO, offer.offer_id)
    with pytest.raises(OfferExpired):
        await shop.hold_offer(offer)


async def test_another_fare_makes_another_offer(shop: Shop) -> None:
    await shop.sells(flight(flight_id=A, classes=THREE))
    (offer,) = await shop.offers(query(adults=2))
    await change(shop, ClassChange("Q", fare=Money(11_000, "CLP")))
    shop.moment.now += timedelta(minutes=5)
    with pytest.raises(PriceChanged):
        await shop.hold_offer(offer)
    new = await shop.search.offer(DEMO, offer.offer_id)
    assert new.supersedes == offer.offer_id != new.offer_id
    assert new.price.total == Money(22_000, "CLP")
    assert new.expires_at == shop.moment.now + timedelta(minutes=20)
    assert (await shop.search.offer(DEMO, new.offer_id)).supersedes is None
    assert (await shop.hold_offer(new)).price == new.price


async def test_a_flight_that_was_held_at_the_old_fare_is_held_at_the_new_one(shop: Shop) -> None:
    await shop.sells(flight(flight_id=A, classes=(("Y", 10, Money(30_000, "CLP")),)))
    (old,) = await shop.offers()
    await shop.hold_offer(old)
    await change(shop, ClassChange("Y", fare=Money(29_000, "CLP")))
    (new,) = await shop.offers()
    assert (await shop.hold_offer(new)).price.total == Money(29_000, "CLP")

    await change(shop, ClassChange("Y", fare=Money(28_000, "CLP")))
    (newest,) = await shop.offers()
    with pytest.raises(PriceChanged) as refused:
        await shop.hold_offer(old)
    assert refused.value.facts == PriceChanged(newest.price).facts


async def test_an_offer_without_seats_is_sold_out(shop: Shop) -> None:
    await shop.sells(flight(flight_id=A, classes=THREE))
    (offer,) = await shop.offers(query(adults=2))
    await shop.hold(A, "Q")
    with pytest.raises(SoldOut) as refused:
        await shop.search.offer(DEMO, offer.offer_id)
    assert refused.value.facts == {"next_release_at": None}
    (violation,) = refused.value.violations
    assert (violation.place, violation.at, violation.code) == ("pointer", "/offer_id", "sold_out")
    assert violation.facts == {
        "flight_id": A,
        "booking_class": "Q",
        "requested": 2,
        "open": 1,
    }


async def test_an_offer_of_a_class_that_is_gone_is_sold_out(shop: Shop) -> None:
    await shop.sells(flight(flight_id=A, classes=THREE))
    (offer,) = await shop.offers()
    schedule = ScheduleService(shop.core.database, shop.core.availability, shop.moment)
    await schedule.put(flight(flight_id=A, classes=THREE[:2]))
    with pytest.raises(SoldOut):
        await shop.search.offer(DEMO, offer.offer_id)


async def test_an_offer_of_a_flight_that_left(shop: Shop) -> None:
    sold = flight(flight_id=A)
    await shop.sells(sold)
    shop.moment.now = sold.departing_at.utc - timedelta(minutes=1)
    (offer,) = await shop.offers()
    shop.moment.now = sold.departing_at.utc
    with pytest.raises(NotForSale):
        await shop.search.offer(DEMO, offer.offer_id)


async def test_an_offer_belongs_to_its_tenant(shop: Shop) -> None:
    await shop.sells(flight(flight_id=A))
    (offer,) = await shop.offers()
    for tenant, text_ in [(RIVAL, offer.offer_id), (DEMO, offer.offer_id[:-1]), (DEMO, "off_x")]:
        with pytest.raises(NotFound):
            await shop.search.offer(tenant, text_)


async def test_an_offer_waits_for_a_layout_on_its_way(shop: Shop) -> None:
    await shop.sells(flight(flight_id=A, classes=THREE))
    (offer,) = await shop.offers()
    await execute(
        shop,
        "UPDATE inventory SET booking_classes = '{Y,Q}', fares = '{3,2}', limits = '{9,9}',"
        " ceilings = '{9,9}', sold = '{0,0}'",
    )
    with pytest.raises(HoldStoreUnavailable):
        await shop.search.offer(DEMO, offer.offer_id)


async def test_availability_tells_every_status(shop: Shop) -> None:
    sold = flight(flight_id=A, classes=(*THREE, ("N", 0, Money(5_000, "CLP"))))
    await shop.sells(sold)
    await shop.hold(A, "Q", 2)
    await shop.hold(A, "Y", 3)
    found = await shop.search.availability(sold.flight_id)
    counts = found.counts[CabinName.ECONOMY]
    assert found.as_of == NOW
    assert counts.open == (5, 4, 0, 0)
    assert counts.statuses == (
        ClassStatus.OPEN,
        ClassStatus.LOW,
        ClassStatus.HELD_OUT,
        ClassStatus.CLOSED,
    )
    assert (counts.limits, counts.sold, counts.held) == ((10, 6, 2, 0), (0, 0, 0, 0), (3, 0, 2, 0))


async def test_availability_of_a_flight_new_to_the_hold_store(shop: Shop) -> None:
    await put_flights(shop.core.database, flight(flight_id=A, classes=THREE))
    found = await shop.search.availability(FlightId(A))
    assert found.counts[CabinName.ECONOMY].open == (10, 6, 2)


async def change(shop: Shop, *classes: ClassChange) -> None:
    schedule = ScheduleService(shop.core.database, shop.core.availability, shop.moment)
    await schedule.patch(flight(flight_id=A).flight_id, [CabinChange(CabinName.ECONOMY, classes)])


async def execute(shop: Shop, statement: str) -> None:
    await shop.core.database.run_in_transaction(lambda session: session.execute(text(statement)))


async def calls(client: redis.asyncio.Redis) -> int:
    """Scripts the server has run."""
    stats = await client.info("commandstats")
    return sum(
        int(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"])
        for name in ("eval", "evalsha", "fcall")
    )
