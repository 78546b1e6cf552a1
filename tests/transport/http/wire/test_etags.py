"""Entity tags and cache policies of offers, the calendar and routes."""

from datetime import timedelta

import httpx
import pytest

from app.money import Money
from tests.builders.flights import flight
from tests.builders.search import NOW, Shop
from tests.search.conftest import shop, start_shop

__all__ = ["shop", "start_shop"]

OFFERS = "/v1/offers?origin=SCL&destination=GRU&departure_date=2027-03-10"
CALENDAR = "/v1/calendar?origin=SCL&destination=GRU&month=2027-03"
ROUTES = "/v1/routes"
POLICIES = {
    OFFERS: "private, max-age=2, stale-while-revalidate=10",
    CALENDAR: "public, max-age=2, s-maxage=15, stale-while-revalidate=60",
    ROUTES: "public, max-age=30, s-maxage=300, stale-while-revalidate=3600",
}


async def ask(client: httpx.AsyncClient, path: str, tag: str | None = None) -> httpx.Response:
    return await client.get(path, headers={} if tag is None else {"If-None-Match": tag})


@pytest.mark.parametrize("path", POLICIES)
async def test_a_current_tag_is_304_without_a_body(shop: Shop, path: str) -> None:
    await shop.sells(flight(flight_id="flt_a", classes=(("Y", 9, Money(100, "USD")),)))
    async with shop.client() as client:
        first = await ask(client, path)
        assert first.status_code == 200
        assert first.headers["content-type"] == "application/json"
        tag = first.headers["etag"]
        for given in (tag, f'"other", {tag}', tag.removeprefix("W/"), "*"):
            again = await ask(client, path, given)
            assert (again.status_code, again.content) == (304, b""), given
            for name in ("etag", "cache-control", "vary"):
                assert again.headers[name] == first.headers[name]
        for given in ('"other"', "W/", tag.strip('W/"'), ""):
            assert (await ask(client, path, given)).status_code == 200, given
        assert first.headers["cache-control"] == POLICIES[path]
        assert first.headers["vary"] == "Authorization"


async def test_the_tag_of_offers_changes_with_anything_but_their_ids(shop: Shop) -> None:
    await shop.sells(flight(flight_id="flt_a", classes=(("Y", 9, Money(100, "USD")),)))
    async with shop.client() as client, shop.client("rival") as rival:
        first = await ask(client, OFFERS)
        tag = first.headers["etag"]
        assert tag.startswith("W/")
        shop.moment.now = NOW + timedelta(seconds=20)
        assert (await ask(client, OFFERS, tag)).status_code == 304
        assert (await ask(client, OFFERS)).json() != first.json(), "ids are others each time"
        assert (await ask(rival, OFFERS, tag)).status_code == 200, "offers are one tenant's"
        assert (await ask(client, OFFERS + "&adults=2", tag)).status_code == 200
        shop.moment.now = NOW + timedelta(minutes=5)
        assert (await ask(client, OFFERS, tag)).status_code == 200, "the kept ones grow old"
        shop.moment.now = NOW + timedelta(seconds=20)
        await shop.hold("flt_a", "Y")
        assert (await ask(client, OFFERS, tag)).status_code == 200, "a seat less"


async def test_refusals_and_live_answers_have_no_tag(shop: Shop) -> None:
    await shop.sells(flight(flight_id="flt_a"))
    async with shop.client() as client, shop.client("nobody") as nobody:
        assert "etag" not in (await ask(nobody, ROUTES, "*")).headers
        assert (await ask(nobody, ROUTES, "*")).status_code == 401
        assert (await ask(client, CALENDAR + "x", "*")).status_code == 422
        assert "etag" not in (await ask(client, "/v1/flights/flt_a/availability")).headers


async def test_an_unknown_parameter_is_refused(shop: Shop) -> None:
    async with shop.client() as client:
        answer = await ask(client, OFFERS + "&adult=2&children=1&adult=3&%00=1")
        assert answer.status_code == 422
        assert [(one["parameter"], one["code"]) for one in answer.json()["errors"]] == [
            ("adult", "unknown_parameter"),
            ("", "unknown_parameter"),
        ]
        assert (await ask(client, "/v1/flights/flt_a/availability?cabin=first")).status_code == 422
        assert (await ask(client, "/livez?probe=1")).status_code == 200
