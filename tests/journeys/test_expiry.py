"""A hold expires: the flight shows its seats within a second, and the hold is shown as expired."""

import asyncio
from datetime import datetime, timedelta

import httpx

from tests.builders.wire import (
    Json,
    ask_booking,
    book,
    booking_body,
    hold,
    put_flight,
    refusal,
    seats,
)
from tests.fixtures.api import StartApi


async def test_a_hold_that_ran_out_is_gone_and_its_seats_are_shown(start_api: StartApi) -> None:
    api = await start_api(ttl_seconds=2)
    flight_id = await put_flight(api.ops, classes=(("Y", 4, "129900"),))
    kept = await hold(api.demo, (flight_id, "Y"))
    extended = await api.demo.post(f"/v1/holds/{kept['id']}/extend")
    lost = await hold(api.demo, (flight_id, "Y"), adults=3)
    assert (await _shown(api.ops, flight_id))["status"] == "held_out"

    as_of = await _shown_free(api.ops, flight_id, 3)

    assert as_of - datetime.fromisoformat(lost["expires_at"]) < timedelta(seconds=1)
    gone = (await api.demo.get(f"/v1/holds/{lost['id']}")).json()
    assert (gone["status"], gone["expires_in_seconds"]) == ("expired", 0)
    assert refusal(await ask_booking(api.demo, booking_body(lost))) == (410, "hold_expired")
    assert refusal(await api.demo.post(f"/v1/holds/{lost['id']}/extend")) == (410, "hold_expired")
    assert (await api.demo.delete(f"/v1/holds/{lost['id']}")).status_code == 204
    assert (await seats(api.ops, flight_id))["Y"] == (4, 0, 1), "the extended one is still held"
    await book(api.demo, extended.json())


async def _shown_free(ops: httpx.AsyncClient, flight_id: str, seats_open: int) -> datetime:
    async with asyncio.timeout(8):
        while True:
            answer = await ops.get(f"/v1/flights/{flight_id}/availability")
            if _only_class(answer)["open"] == seats_open:
                return datetime.fromisoformat(answer.json()["as_of"])
            await asyncio.sleep(0.02)


async def _shown(ops: httpx.AsyncClient, flight_id: str) -> Json:
    return _only_class(await ops.get(f"/v1/flights/{flight_id}/availability"))


def _only_class(answer: httpx.Response) -> Json:
    (only,) = answer.json()["cabins"][0]["booking_classes"]
    found: Json = only
    return found
