"""One request delivered twenty times concurrently, to two workers, has one effect and one answer."""

import asyncio
from collections.abc import Sequence

import httpx

from tests.builders.wire import (
    ask_booking,
    ask_hold,
    booking_body,
    hold,
    hold_body,
    new_key,
    put_flight,
    seats,
    told,
)
from tests.fixtures.api import StartApi

DELIVERIES = 20


async def test_twenty_deliveries_are_one_effect(start_api: StartApi) -> None:
    api = await start_api(workers=2)
    flight_id = await put_flight(api.ops, classes=(("Y", 30, "129900"),))
    key, body = new_key(), hold_body((flight_id, "Y"), adults=2)

    held = await asyncio.gather(*(ask_hold(api.demo, body, key) for _ in range(DELIVERIES)))

    _assert_one(held, 201)
    assert await seats(api.ops, flight_id) == {"Y": (30, 0, 2)}

    order, key = booking_body(held[0].json()), new_key()
    sold = await asyncio.gather(*(ask_booking(api.demo, order, key) for _ in range(DELIVERIES)))

    _assert_one(sold, 201)
    assert await seats(api.ops, flight_id) == {"Y": (30, 2, 0)}
    assert await api.rows("SELECT count(*) FROM booking_passengers") == [(2,)]

    path, key = f"/v1/bookings/{sold[0].json()['id']}/cancel", new_key()
    ended = await asyncio.gather(*(api.demo.post(path, headers=key) for _ in range(DELIVERIES)))

    _assert_one(ended, 200)
    assert await seats(api.ops, flight_id) == {"Y": (30, 0, 0)}
    facts = await api.rows("SELECT type FROM outbox WHERE tenant_id = 'demo' ORDER BY sequence")
    assert facts == [("booking.confirmed",), ("booking.cancelled",)]

    longer, key = await hold(api.demo, (flight_id, "Y")), new_key()
    path = f"/v1/holds/{longer['id']}/extend"
    moved = await asyncio.gather(*(api.demo.post(path, headers=key) for _ in range(DELIVERIES)))

    _assert_one(moved, 200)


def _assert_one(answers: Sequence[httpx.Response], status: int) -> None:
    assert {answer.status_code for answer in answers} == {status}
    assert len({told(answer) for answer in answers}) == 1
    firsts = [answer for answer in answers if "idempotent-replayed" not in answer.headers]
    assert len(firsts) == 1
