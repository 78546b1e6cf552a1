"""A journey of two flights, from the search to the booking: both seats or none."""

from datetime import timedelta

from tests.builders.wire import (
    DEPARTURE_DATE,
    Json,
    ask_hold,
    book,
    hold,
    put_flight,
    refusal,
    seats,
)
from tests.fixtures.api import Api

LONELY_DAY = DEPARTURE_DATE + timedelta(days=11)  # no other test searches on it
MARKET = {"origin": "SCL", "destination": "GRU", "departure_date": LONELY_DAY.isoformat()}


async def test_two_flights_are_held_and_booked_as_one(api: Api) -> None:
    first = await put_flight(api.ops, destination="LIM", departure_date=LONELY_DAY, hour=6)
    second = await put_flight(api.ops, origin="LIM", departure_date=LONELY_DAY, hour=14)
    offer = await _offer(api, adults="2")
    (slice_,) = offer["slices"]
    assert [segment["flight_id"] for segment in slice_["segments"]] == [first, second]
    assert offer["price"]["total"] == {"amount": "359600", "currency": "CLP"}
    single = await api.demo.get("/v1/offers", params={**MARKET, "max_connections": "0"})
    assert single.json()["data"] == []

    held = await ask_hold(api.demo, {"offer_id": offer["id"]})
    assert held.status_code == 201, held.text
    assert [await _held(api, flight_id) for flight_id in (first, second)] == [2, 2]
    booking = await book(api.demo, held.json())
    assert [segment["flight_id"] for segment in booking["segments"]] == [first, second]
    assert booking["price"] == offer["price"]
    assert [await _held(api, flight_id) for flight_id in (first, second)] == [0, 0]

    offer = await _offer(api, adults="3")
    await hold(api.demo, (second, "M"), adults=4)
    refused = await ask_hold(api.demo, {"offer_id": offer["id"]})
    assert refusal(refused) == (409, "sold_out")
    assert [error["flight_id"] for error in refused.json()["errors"]] == [second]
    assert [await _held(api, flight_id) for flight_id in (first, second)] == [0, 4]


async def _offer(api: Api, **counts: str) -> Json:
    answer = await api.demo.get("/v1/offers", params={**MARKET, **counts})
    assert answer.status_code == 200, answer.text
    (offer,) = answer.json()["data"]
    found: Json = offer
    return found


async def _held(api: Api, flight_id: str) -> int:
    return sum(held for _, _, held in (await seats(api.ops, flight_id)).values())
