"""From a search to an event, and to a cancellation: the daily work of a partner's system."""

from datetime import date, timedelta

import httpx

from tests.builders.wire import (
    DEPARTURE_DATE,
    Json,
    ask_booking,
    ask_hold,
    book,
    booking_body,
    event_about,
    events_about,
    hold,
    new_key,
    put_flight,
    refusal,
    seats,
)
from tests.fixtures.api import Api

LONELY_DAY = DEPARTURE_DATE + timedelta(days=7)  # no other test searches on it


async def test_search_hold_book_event(api: Api) -> None:
    flight_id = await put_flight(api.ops, departure_date=LONELY_DAY)

    offer = await _offer(api.demo, LONELY_DAY, adults=2, children=1, infants=1)
    (segment,) = offer["slices"][0]["segments"]
    assert (segment["flight_id"], segment["booking_class"]) == (flight_id, "M")
    checked = await api.demo.get(f"/v1/offers/{offer['id']}")
    assert checked.json() == offer

    held = await ask_hold(api.demo, {"offer_id": offer["id"], "client_reference": "order-1"})
    assert held.status_code == 201
    its_hold = held.json()
    assert held.headers["location"] == f"/v1/holds/{its_hold['id']}"
    assert its_hold["price"] == offer["price"]
    assert its_hold["passengers"] == {"ADT": 2, "CHD": 1, "INF": 1}
    assert await seats(api.ops, flight_id) == {"Y": (10, 0, 0), "M": (6, 0, 3)}

    booked = await ask_booking(api.demo, booking_body(its_hold, client_reference="order-1"))
    assert booked.status_code == 201
    booking = booked.json()
    assert booked.headers["location"] == f"/v1/bookings/{booking['id']}"
    assert (booking["status"], booking["version"]) == ("confirmed", 1)
    assert booking["price"] == offer["price"]
    assert await seats(api.ops, flight_id) == {"Y": (10, 0, 0), "M": (6, 3, 0)}
    now = (await api.demo.get(f"/v1/holds/{its_hold['id']}")).json()
    assert (now["status"], now["booking_id"]) == ("booked", booking["id"])

    event = await event_about(api.demo, booking["id"], "booking.confirmed")
    assert (event["sequence"], event["tenant_id"]) == (1, "demo")
    assert "Pérez" not in str(event)
    assert booking["record_locator"] not in str(event)


async def test_a_booking_is_found_by_its_locator_and_a_family_name(api: Api) -> None:
    flight_id = await put_flight(api.ops)
    booking = await book(
        api.demo, await hold(api.demo, (flight_id, "Y"), adults=1), family_name="Núñez O'Higgins"
    )

    for name in ("Núñez O'Higgins", "NUNEZ O'HIGGINS", "nún\u0303ez  o'higgins"):
        found = await _find(api.demo, booking["record_locator"], name)
        assert (found.status_code, found.json()) == (200, booking), name
    for locator, name in [
        (booking["record_locator"], "Nunes"),
        (booking["record_locator"], "O'Higgins"),
        ("ZZZZZZ", "Núñez O'Higgins"),
    ]:
        assert refusal(await _find(api.demo, locator, name)) == (404, "not_found")
    assert refusal(await _find(api.rival, booking["record_locator"], "Núñez O'Higgins")) == (
        404,
        "not_found",
    )
    for query in ({"record_locator": booking["record_locator"]}, {"family_name": "Núñez"}, {}):
        assert refusal(await api.demo.get("/v1/bookings", params=query)) == (
            422,
            "validation_error",
        )


async def test_a_cancelled_booking_gives_its_seats_back(api: Api) -> None:
    flight_id = await put_flight(api.ops, classes=(("Y", 3, "129900"),))
    booking = await book(api.demo, await hold(api.demo, (flight_id, "Y"), adults=3))
    assert await seats(api.ops, flight_id) == {"Y": (3, 3, 0)}

    answers = [await api.demo.post(f"/v1/bookings/{booking['id']}/cancel") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    first, second = (answer.json() for answer in answers)
    assert first == second
    assert (first["status"], first["version"]) == ("cancelled", 2)
    assert first["cancelled_at"] >= first["created_at"]
    assert await seats(api.ops, flight_id) == {"Y": (3, 0, 0)}
    await hold(api.demo, (flight_id, "Y"), adults=3)
    event = await event_about(api.demo, booking["id"], "booking.cancelled")
    assert event["sequence"] == 2
    both = await events_about(api.demo, booking["id"])
    assert [one["type"] for one in both] == ["booking.confirmed", "booking.cancelled"]


async def test_a_hold_is_released_and_its_seats_are_free_at_once(api: Api) -> None:
    flight_id = await put_flight(api.ops, classes=(("Y", 2, "129900"),))
    its_hold = await hold(api.demo, (flight_id, "Y"), adults=2)
    for _ in range(2):
        released = await api.demo.delete(f"/v1/holds/{its_hold['id']}")
        assert released.status_code == 204
        assert "content-type" not in released.headers
        assert await seats(api.ops, flight_id) == {"Y": (2, 0, 0)}
    other = await hold(api.rival, (flight_id, "Y"), adults=2)
    assert refusal(await ask_booking(api.demo, booking_body(its_hold))) == (409, "hold_not_active")
    await book(api.rival, other)
    assert refusal(await api.rival.delete(f"/v1/holds/{other['id']}")) == (409, "hold_not_active")


async def test_one_client_reference_is_one_booking(api: Api) -> None:
    flight_id = await put_flight(api.ops)
    first, second = [await hold(api.demo, (flight_id, "Y")) for _ in range(2)]
    await book(api.demo, first, client_reference=f"ref-{flight_id}")

    refused = await ask_booking(
        api.demo, booking_body(second, client_reference=f"ref-{flight_id}"), new_key()
    )

    assert refusal(refused) == (409, "duplicate_booking")
    assert await seats(api.ops, flight_id) == {"Y": (10, 1, 1), "M": (6, 0, 0)}
    await book(api.demo, second, client_reference=f"ref-2-{flight_id}")
    elsewhere = await hold(api.rival, (flight_id, "Y"))
    await book(api.rival, elsewhere, client_reference=f"ref-{flight_id}")


async def _offer(client: httpx.AsyncClient, day: date, **counts: int) -> Json:
    query = {"origin": "SCL", "destination": "GRU", "departure_date": day.isoformat()}
    answer = await client.get("/v1/offers", params=query | {k: str(n) for k, n in counts.items()})
    assert answer.status_code == 200, answer.text
    (offer,) = answer.json()["data"]
    found: Json = offer
    return found


async def _find(client: httpx.AsyncClient, locator: str, name: str) -> httpx.Response:
    return await client.get("/v1/bookings", params={"record_locator": locator, "family_name": name})
