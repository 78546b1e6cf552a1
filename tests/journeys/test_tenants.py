"""A partner's resources do not exist for another partner, on every route."""

from collections.abc import Awaitable, Callable

import httpx
import pytest

from tests.builders.wire import (
    DEPARTURE_DATE,
    Json,
    ask_booking,
    ask_hold,
    book,
    booking_body,
    event_about,
    hold,
    hold_body,
    new_key,
    put_flight,
    refusal,
    seats,
)
from tests.fixtures.api import Api

SHARED = {
    "GET /v1/flights/{flight_id}/availability",
    "GET /v1/flights/{flight_id}",
    "PUT /v1/flights/{flight_id}",
    "PATCH /v1/flights/{flight_id}/inventory",
    "GET /v1/flights/{flight_id}/ledger",
}
"""Flights are everybody's; what is exact about them is asked with a scope."""


@pytest.fixture
async def demos(api: Api) -> Json:
    """What the partner `demo` has."""
    flight_id = await put_flight(api.ops, destination="LIM")
    query = {
        "origin": "SCL",
        "destination": "LIM",
        "departure_date": DEPARTURE_DATE.isoformat(),
    }
    offers = (await api.demo.get("/v1/offers", params=query | {"limit": "1"})).json()
    return {
        "flight_id": flight_id,
        "query": query,
        "offer": offers["data"][0],
        "hold": await hold(api.demo, (flight_id, "Y"), client_reference=flight_id),
        "booking": await book(api.demo, await hold(api.demo, (flight_id, "Y"))),
    }


async def test_another_partner_gets_404_by_every_id(api: Api, demos: Json) -> None:
    rival = api.rival
    offer, held, booking = (demos[name]["id"] for name in ("offer", "hold", "booking"))
    attempts: dict[str, Callable[[], Awaitable[httpx.Response]]] = {
        "GET /v1/offers/{offer_id}": lambda: rival.get(f"/v1/offers/{offer}"),
        "GET /v1/holds/{hold_id}": lambda: rival.get(f"/v1/holds/{held}"),
        "DELETE /v1/holds/{hold_id}": lambda: rival.delete(f"/v1/holds/{held}"),
        "POST /v1/holds/{hold_id}/extend": lambda: rival.post(f"/v1/holds/{held}/extend"),
        "POST /v1/bookings": lambda: ask_booking(rival, booking_body(demos["hold"])),
        "GET /v1/bookings/{booking_id}": lambda: rival.get(f"/v1/bookings/{booking}"),
        "POST /v1/bookings/{booking_id}/cancel": lambda: rival.post(
            f"/v1/bookings/{booking}/cancel", headers=new_key()
        ),
        "GET /v1/bookings": lambda: rival.get(
            "/v1/bookings",
            params={"record_locator": demos["booking"]["record_locator"], "family_name": "Perez"},
        ),
    }

    for route, attempt in attempts.items():
        answer = await attempt()
        assert refusal(answer) == (404, "not_found"), route
        assert "Pérez" not in answer.text
    by_id = {route for route in await _routes(api) if "{" in route}
    assert by_id == {route for route in attempts if "{" in route} | SHARED, "a route is not tried"
    assert (await api.demo.get(f"/v1/holds/{held}")).json()["status"] == "active"
    assert (await api.demo.get(f"/v1/bookings/{booking}")).json()["status"] == "confirmed"


async def test_another_partner_cannot_hold_by_an_offer(api: Api, demos: Json) -> None:
    answer = await ask_hold(api.rival, {"offer_id": demos["offer"]["id"]})
    assert refusal(answer) == (422, "validation_error")
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/offer_id"]


async def test_lists_hold_only_what_is_ones_own(api: Api, demos: Json) -> None:
    await hold(api.rival, (demos["flight_id"], "Y"), client_reference=demos["flight_id"])
    await event_about(api.demo, demos["booking"]["id"], "booking.confirmed")

    listed = await api.rival.get("/v1/holds", params={"client_reference": demos["flight_id"]})
    assert len(listed.json()["data"]) == 1
    assert demos["hold"]["id"] not in listed.text
    events = await _all(api.rival, "/v1/events")
    assert {event["tenant_id"] for event in events} <= {"rival"}
    shown = await api.rival.get(f"/v1/flights/{demos['flight_id']}/availability")
    assert "held" not in shown.json()["cabins"][0]["booking_classes"][0]


async def test_a_cursor_is_of_no_use_to_another_partner(api: Api, demos: Json) -> None:
    await hold(api.demo, (demos["flight_id"], "Y"))
    await put_flight(api.ops, destination="LIM", hour=11)
    await event_about(api.demo, demos["booking"]["id"], "booking.confirmed")
    for path, query in [
        ("/v1/holds", {}),
        ("/v1/events", {}),
        ("/v1/offers", demos["query"]),
    ]:
        page = await api.demo.get(path, params=query | {"limit": "1"})
        after = page.json()["meta"]["after"]
        assert after is not None, path
        stolen = await api.rival.get(path, params=query | {"limit": "1", "after": after})
        assert refusal(stolen) == (422, "validation_error"), path


async def test_a_key_of_one_partner_says_nothing_to_another(api: Api, demos: Json) -> None:
    key, body = new_key(), hold_body((demos["flight_id"], "M"))
    mine, theirs = await ask_hold(api.demo, body, key), await ask_hold(api.rival, body, key)
    assert mine.status_code == theirs.status_code == 201
    assert mine.json()["id"] != theirs.json()["id"]
    assert "idempotent-replayed" not in theirs.headers
    assert (await seats(api.ops, demos["flight_id"]))["M"] == (6, 0, 2)


async def _routes(api: Api) -> set[str]:
    document = (await api.client(None).get("/openapi.json")).json()
    return {
        f"{method.upper()} {path}"
        for path, operations in document["paths"].items()
        if path.startswith("/v1/")
        for method in operations
    }


async def _all(client: httpx.AsyncClient, path: str) -> list[Json]:
    found: list[Json] = []
    query = {"limit": "200"}
    while True:
        page = (await client.get(path, params=query)).json()
        found += page["data"]
        if not page["meta"]["has_more"]:
            return found
        query["after"] = page["meta"]["after"]
