"""A month at a glance: what a search of each day would offer first."""

from datetime import date, timedelta

from app.money import Money
from tests.builders.flights import DEPARTING, Classes, flight
from tests.builders.search import DAY, NOW, Shop, query

MONTH = date(2027, 3, 1)
PATH = "/v1/calendar"
MARKET = {"origin": "SCL", "destination": "GRU", "month": "2027-03"}


def fares(minor: int, seats: int = 1) -> Classes:
    return (("Y", seats, Money(minor, "USD")),)


async def test_each_day_of_the_month(shop: Shop) -> None:
    await shop.sells(
        flight(flight_id="flt_a", classes=fares(9_000)),
        flight(flight_id="flt_b", classes=fares(8_000), departing=DEPARTING + timedelta(hours=3)),
        flight(flight_id="flt_c", destination="LIM", classes=fares(2_000)),
        flight(
            flight_id="flt_d",
            origin="LIM",
            classes=fares(3_000),
            departing=DEPARTING + timedelta(hours=8),
        ),
        flight(flight_id="flt_e", classes=fares(7_000), departing=DEPARTING + timedelta(days=21)),
        flight(flight_id="flt_gone", departing=NOW.replace(tzinfo=None) - timedelta(hours=9)),
    )
    days = await shop.search.calendar("SCL", "GRU", MONTH)
    assert [one.day for one in days] == [MONTH + timedelta(days=n) for n in range(31)]
    lowest = {one.day: one.lowest_price for one in days if one.lowest_price is not None}
    last = DAY + timedelta(days=21)
    assert lowest == {DAY: Money(5_000, "USD"), last: Money(7_000, "USD")}
    (first, *_) = await shop.offers(query())
    assert first.price.total == lowest[DAY]

    await shop.hold("flt_d", "Y")
    await shop.hold("flt_e", "Y")
    days = await shop.search.calendar("SCL", "GRU", MONTH)
    assert {one.day: one.lowest_price for one in days if one.lowest_price} == {
        DAY: Money(8_000, "USD")
    }


async def test_months_at_the_ends_of_time_and_markets_that_are_not_served(shop: Shop) -> None:
    for month, count in ((date(1, 1, 1), 31), (date(9999, 12, 1), 31), (date(2028, 2, 1), 29)):
        days = await shop.search.calendar("SCL", "GRU", month)
        assert [one.lowest_price for one in days] == [None] * count


async def test_the_shape(shop: Shop) -> None:
    await shop.sells(flight(flight_id="flt_a", classes=fares(9_000)))
    async with shop.client() as client, shop.client("poor") as poor:
        answer = await client.get(PATH, params=MARKET)
        assert answer.status_code == 200, answer.text
        assert (await poor.get(PATH, params=MARKET)).status_code == 403
        body = answer.json()
        for wrong in ("2027-13", "2027-3", "0000-01", "2027-03-01", ""):
            refused = await client.get(PATH, params={**MARKET, "month": wrong})
            assert refused.status_code == 422, wrong
            assert refused.json()["errors"][0]["parameter"] == "month"
        same = await client.get(PATH, params={**MARKET, "destination": "SCL"})
        assert same.json()["errors"][0]["parameter"] == "destination"
    assert set(body) == {"data"}
    assert len(body["data"]) == 31
    assert body["data"][8] == {"date": "2027-03-09", "open": False, "lowest_price": None}
    assert body["data"][9] == {
        "date": "2027-03-10",
        "open": True,
        "lowest_price": {"amount": "90.00", "currency": "USD"},
    }
