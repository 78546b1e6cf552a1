"""`/v1/offers`, `/v1/routes` and availability as a client meets them."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from app.ids import TenantId
from app.inventory.itinerary import PassengerCounts
from app.money import Money
from app.search.service import SearchService
from tests.builders.flights import DEPARTING, flight
from tests.builders.holds import DEMO
from tests.builders.search import NOW, Shop, terms

A, B = "flt_a", "flt_b"
MARKET = {"origin": "SCL", "destination": "GRU", "departure_date": "2027-03-10"}
WRONG: list[tuple[dict[str, str | None], str, str]] = [
    ({"origin": None}, "origin", "missing"),
    ({"origin": "scl"}, "origin", "invalid"),
    ({"origin": "SCL\n"}, "origin", "invalid"),
    ({"destination": "SCL"}, "destination", "invalid"),
    ({"departure_date": "10-03-2027"}, "departure_date", "invalid"),
    ({"departure_date": "2027-02-30"}, "departure_date", "wrong_type"),
    ({"departure_date": "0000-01-01"}, "departure_date", "wrong_type"),
    ({"adults": "0"}, "adults", "out_of_range"),
    ({"adults": "10"}, "adults", "out_of_range"),
    ({"adults": "1_0"}, "adults", "wrong_type"),
    ({"adults": "1.0"}, "adults", "wrong_type"),
    ({"children": "9"}, "children", "out_of_range"),
    ({"children": "-1"}, "children", "wrong_type"),
    ({"adults": "5", "children": "5"}, "children", "out_of_range"),
    ({"infants": "2"}, "infants", "out_of_range"),
    ({"cabin": "cargo"}, "cabin", "invalid"),
    ({"max_connections": "2"}, "max_connections", "out_of_range"),
    ({"sort": "luck"}, "sort", "invalid"),
    ({"limit": "0"}, "limit", "out_of_range"),
    ({"limit": "201"}, "limit", "out_of_range"),
    ({"after": ""}, "after", "invalid"),
    ({"after": "made-up"}, "after", "invalid"),
]


@pytest.fixture
async def stocked(shop: Shop) -> Shop:
    """Two flights, the second an hour later and dearer."""
    classes = (("Y", 10, Money(12_990, "USD")), ("M", 6, Money(8_990, "USD")))
    dearer = (("Y", 10, Money(22_990, "USD")), ("M", 6, Money(18_990, "USD")))
    await shop.sells(
        flight(flight_id=A, classes=classes),
        flight(flight_id=B, classes=dearer, departing=DEPARTING + timedelta(hours=1)),
    )
    return shop


async def test_an_offer_has_exactly_the_contracts_shape(stocked: Shop) -> None:
    async with stocked.client() as client:
        answer = await client.get("/v1/offers", params={**MARKET, "adults": 2, "infants": 1})
    assert answer.status_code == 200
    first, second = answer.json()["data"]
    assert answer.json()["meta"] == {"after": None, "has_more": False}
    assert first.pop("id").startswith("off_")
    assert first == {
        "expires_at": "2027-03-01T12:20:00Z",
        "passengers": {"ADT": 2, "CHD": 0, "INF": 1},
        "slices": [
            {
                "origin": "SCL",
                "destination": "GRU",
                "duration": "PT6H",
                "segments": [
                    {
                        "flight_id": A,
                        "carrier": "LA",
                        "flight_number": "801",
                        "origin": "SCL",
                        "destination": "GRU",
                        "departing_at": {
                            "local": "2027-03-10T08:30:00",
                            "time_zone": "America/Santiago",
                            "utc": "2027-03-10T11:30:00Z",
                        },
                        "arriving_at": {
                            "local": "2027-03-10T14:30:00",
                            "time_zone": "America/Sao_Paulo",
                            "utc": "2027-03-10T17:30:00Z",
                        },
                        "duration": "PT6H",
                        "cabin": "economy",
                        "booking_class": "M",
                        "fare": {"amount": "89.90", "currency": "USD"},
                        "seats_left": 6,
                    }
                ],
            }
        ],
        "price": {
            "total": {"amount": "179.80", "currency": "USD"},
            "passengers": [
                {"type": "ADT", "count": 2, "each": {"amount": "89.90", "currency": "USD"}},
                {"type": "INF", "count": 1, "each": {"amount": "0.00", "currency": "USD"}},
            ],
        },
    }
    assert second["slices"][0]["segments"][0]["flight_id"] == B


async def test_a_listed_offer_and_a_read_one_are_the_same(stocked: Shop) -> None:
    async with stocked.client() as client:
        (offer, _) = (await client.get("/v1/offers", params=MARKET)).json()["data"]
        answer = await client.get(f"/v1/offers/{offer['id']}")
    assert (answer.status_code, answer.json()) == (200, offer)


async def test_a_superseding_offer_names_the_one_it_stands_for(stocked: Shop) -> None:
    async with stocked.client() as client:
        (offer, _) = (await client.get("/v1/offers", params=MARKET)).json()["data"]
        fares = (Money(1, "USD"),) * 3
        old = terms((A, "M"), passengers=PassengerCounts(1), each=fares)
        old_id = stocked.tokens.seal(DEMO, old)
        new = (await client.get(f"/v1/offers/{old_id}")).json()
    assert new["supersedes"] == old_id != new["id"]
    assert new["price"] == offer["price"]
    assert set(new) == {*offer, "supersedes"}


async def test_refusals_of_an_offer(stocked: Shop) -> None:
    async with stocked.client() as client, stocked.client("rival") as rival:
        (offer, _) = (await client.get("/v1/offers", params=MARKET)).json()["data"]
        path = f"/v1/offers/{offer['id']}"
        assert refused(await rival.get(path)) == (404, "not_found")
        assert refused(await client.get(path[:-1])) == (404, "not_found")
        assert refused(await client.get("/v1/offers/off_%00")) == (404, "not_found")
        assert refused(await client.get("/v1/offers/" + "A" * 5000)) == (404, "not_found")

        await stocked.hold(A, "Y", 9)
        await stocked.hold(A, "Y", 1)
        answer = await client.get(path)
        assert refused(answer) == (409, "sold_out")
        assert answer.json()["next_release_at"] is None
        (entry,) = answer.json()["errors"]
        assert entry.pop("detail")
        assert entry == {
            "pointer": "/offer_id",
            "code": "sold_out",
            "flight_id": A,
            "booking_class": "M",
            "requested": 1,
            "open": 0,
        }
        stocked.moment.now = NOW + timedelta(minutes=20)
        assert refused(await client.get(path)) == (410, "offer_expired")


async def test_each_wrong_parameter_is_named(shop: Shop) -> None:
    async with shop.client() as client:
        for changes, parameter, code in WRONG:
            given = {**MARKET, **changes}
            params = {name: value for name, value in given.items() if value is not None}
            answer = await client.get("/v1/offers", params=params)
            assert refused(answer) == (422, "validation_error"), changes
            (entry,) = answer.json()["errors"]
            assert entry["parameter"] == parameter, changes
            assert entry["code"] == code, changes


async def test_nothing_to_offer_is_an_empty_list(shop: Shop) -> None:
    await shop.sells(flight(flight_id=A, classes=(("Y", 7, Money(1, "CLP")),)))
    async with shop.client() as client:
        for changes in (
            {"departure_date": "2020-01-01"},
            {"departure_date": "0001-01-01"},
            {"departure_date": "9999-12-31"},
            {"destination": "QQQ"},
            {"cabin": "first"},
            {"adults": "8"},
        ):
            answer = await client.get("/v1/offers", params={**MARKET, **changes})
            assert answer.json() == {"data": [], "meta": {"after": None, "has_more": False}}, (
                changes
            )


async def test_a_cursor_is_of_its_query_and_its_tenant(stocked: Shop) -> None:
    async with stocked.client() as client, stocked.client("rival") as rival:
        page = (await client.get("/v1/offers", params={**MARKET, "limit": 1})).json()
        assert page["meta"]["has_more"] is True
        asked: dict[str, Any] = {**MARKET, "after": page["meta"]["after"]}
        (offer,) = (await client.get("/v1/offers", params=asked)).json()["data"]
        assert offer["slices"][0]["segments"][0]["flight_id"] == B
        assert refused(await rival.get("/v1/offers", params=asked)) == (422, "validation_error")
        others: list[tuple[str, Any]] = [
            ("origin", "LIM"),
            ("destination", "LIM"),
            ("departure_date", "2027-03-11"),
            ("adults", 2),
            ("children", 1),
            ("infants", 1),
            ("cabin", "business"),
            ("max_connections", 0),
            ("sort", "duration"),
        ]
        for name, value in others:
            answer = await client.get("/v1/offers", params={**asked, name: value})
            assert refused(answer) == (422, "validation_error"), name
        routes = await client.get("/v1/routes", params={"after": page["meta"]["after"]})
        assert refused(routes) == (422, "validation_error")


async def test_routes(stocked: Shop) -> None:
    await stocked.sells(flight(flight_id="flt_c", origin="LIM", destination="BOG"))
    day = "2027-03-10"
    whole = [
        {
            "origin": origin,
            "destination": destination,
            "first_departure_date": day,
            "last_departure_date": day,
        }
        for origin, destination in (("LIM", "BOG"), ("SCL", "GRU"))
    ]
    async with stocked.client() as client, stocked.client("rival") as rival:
        assert (await client.get("/v1/routes")).json()["data"] == whole
        first = (await client.get("/v1/routes", params={"limit": 1})).json()
        after = {"after": first["meta"]["after"]}
        second = (await client.get("/v1/routes", params=after)).json()
        assert first["data"] + second["data"] == whole
        assert second["meta"] == {"after": None, "has_more": False}
        assert refused(await rival.get("/v1/routes", params=after)) == (422, "validation_error")


async def test_availability_for_partners_and_for_administrators(stocked: Shop) -> None:
    await stocked.hold(A, "M", 6)
    path = f"/v1/flights/{A}/availability"
    async with stocked.client() as client, stocked.client("ops") as ops:
        told = (await client.get(path)).json()
        exact = (await ops.get(path)).json()
    assert told == {
        "flight_id": A,
        "as_of": "2027-03-01T12:00:00Z",
        "cabins": [
            {
                "cabin": "economy",
                "booking_classes": [
                    {"booking_class": "Y", "open": 4, "status": "low"},
                    {"booking_class": "M", "open": 0, "status": "held_out"},
                ],
            }
        ],
    }
    assert exact["cabins"][0]["booking_classes"] == [
        {"booking_class": "Y", "open": 4, "status": "low", "limit": 10, "sold": 0, "held": 0},
        {"booking_class": "M", "open": 0, "status": "held_out", "limit": 6, "sold": 0, "held": 6},
    ]


async def test_no_such_flight(shop: Shop) -> None:
    async with shop.client() as client:
        for flight_id in ("flt_none", "x", "flt_", "flt_a%00", "flt_a.b", "flt_é"):
            answer = await client.get(f"/v1/flights/{flight_id}/availability")
            assert refused(answer) == (404, "not_found"), flight_id


async def test_every_route_needs_offers_read(shop: Shop) -> None:
    paths = ("/v1/offers", "/v1/offers/off_x", "/v1/routes", f"/v1/flights/{A}/availability")
    async with shop.client("poor") as poor, shop.client("nobody") as nobody:
        for path in paths:
            assert refused(await poor.get(path)) == (403, "scope_missing"), path
            assert refused(await nobody.get(path)) == (401, "unauthenticated"), path
            assert refused(await poor.put(path)) == (405, "method_not_allowed"), path


async def test_the_document_tells_of_bounds_and_refusals(shop: Shop) -> None:
    async with shop.client() as client:
        document = (await client.get("/openapi.json")).json()
    operation = document["paths"]["/v1/offers"]["get"]
    parameters = {one["name"]: one for one in operation["parameters"]}
    assert parameters["max_connections"]["schema"]["maximum"] == 1
    assert {"404", "409", "410"} <= document["paths"]["/v1/offers/{offer_id}"]["get"][
        "responses"
    ].keys()


def refused(answer: Any) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


async def test_who_asks_the_same_at_once_shares_one_reading(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One tenant's, for one question and one page; everybody else has an answer of their own."""
    asked: list[TenantId] = []
    offers = SearchService.offers

    async def counted(self: SearchService, tenant_id: TenantId, *rest: Any) -> Any:
        asked.append(tenant_id)
        return await offers(self, tenant_id, *rest)

    monkeypatch.setattr(SearchService, "offers", counted)
    await shop.sells(flight(flight_id="flt_a"), flight(flight_id="flt_b"))
    path, others = "/v1/offers", (("adults", "2"), ("limit", "1"), ("cabin", "first"))
    async with shop.client() as client:
        same = [client.get(path, params=MARKET) for _ in range(9)]
        differing = [client.get(path, params={**MARKET, name: value}) for name, value in others]
        rival = client.get(path, params=MARKET, headers={"Authorization": "Bearer rival"})
        *answers, theirs = await asyncio.gather(*same, *differing, rival)
        assert len(asked) == 5
        assert {one.content for one in answers[:9]} == {answers[0].content}
        assert len({one.content for one in (*answers[8:], theirs)}) == 5
        tags = [answers[0].headers["etag"], "nothing"]
        known, unknown = await asyncio.gather(
            *(client.get(path, params=MARKET, headers={"If-None-Match": tag}) for tag in tags)
        )
        assert (known.status_code, unknown.status_code) == (304, 200)
        assert len({one.headers["x-request-id"] for one in answers}) == len(answers)
        await shop.hold("flt_a", "M")
        fresh = (await client.get(path, params=MARKET)).json()["data"]
        assert fresh != answers[0].json()["data"]
