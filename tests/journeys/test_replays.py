"""The same request with the same key: the first answer, byte for byte, for as long as it is kept."""

from collections.abc import Awaitable, Callable

import httpx

from tests.builders.wire import (
    Json,
    ask_booking,
    ask_hold,
    book,
    booking_body,
    hold,
    hold_body,
    new_key,
    put_flight,
    refusal,
    seats,
    told,
)
from tests.fixtures.api import Api, StartApi

Send = Callable[[], Awaitable[httpx.Response]]


async def test_every_answer_is_repeated_also_by_the_next_process(start_api: StartApi) -> None:
    api = await start_api()
    flight_id = await put_flight(api.ops)
    sends, firsts = await _four_changes(api, flight_id)

    async def repeats() -> None:
        for (name, send), first in zip(sends.items(), firsts, strict=True):
            again = await send()
            assert told(again) == told(first), name
            assert again.headers["idempotent-replayed"] == "true", name

    await repeats()
    before = await seats(api.ops, flight_id)
    await api.stop()
    await api.start()
    await repeats()
    assert await seats(api.ops, flight_id) == before


async def test_an_answer_is_the_first_one_whatever_became_of_it(api: Api) -> None:
    flight_id = await put_flight(api.ops)
    held_body, held_key = hold_body((flight_id, "Y"), adults=2), new_key()
    held = await ask_hold(api.demo, held_body, held_key)
    order, order_key = booking_body(held.json()), new_key()
    booked = await ask_booking(api.demo, order, order_key)
    await api.demo.post(f"/v1/bookings/{booked.json()['id']}/cancel")

    assert told(await ask_hold(api.demo, held_body, held_key)) == told(held)
    assert told(await ask_booking(api.demo, order, order_key)) == told(booked)
    assert await seats(api.ops, flight_id) == {"Y": (10, 0, 0), "M": (6, 0, 0)}


async def test_the_same_json_spelled_otherwise_is_the_same_request(api: Api) -> None:
    flight_id = await put_flight(api.ops)
    key = new_key() | {"Content-Type": "application/json"}
    bare = key["Idempotency-Key"]
    segment = f'[ {{"booking_class":"Y",  "flight_id":"{flight_id}"}} ]'
    spelled = f'{{"passengers":{{"INF":0,"CHD":0,"ADT":1}}, "segments":{segment}}}'
    first = await ask_hold(api.demo, hold_body((flight_id, "Y")), key)

    again = await api.demo.post("/v1/holds", content=spelled, headers=key)
    quoted = await ask_hold(api.demo, hold_body((flight_id, "Y")), {"Idempotency-Key": f'"{bare}"'})

    assert told(again) == told(quoted) == told(first)
    assert await seats(api.ops, flight_id) == {"Y": (10, 0, 1), "M": (6, 0, 0)}


async def test_a_key_belongs_to_one_body(api: Api) -> None:
    flight_id = await put_flight(api.ops)
    key, other = new_key(), new_key()
    held = await ask_hold(api.demo, hold_body((flight_id, "Y")), key)
    second = await hold(api.demo, (flight_id, "Y"))
    await ask_booking(api.demo, booking_body(held.json()), other)

    reused = [
        await ask_hold(api.demo, hold_body((flight_id, "M")), key),
        await ask_booking(api.demo, booking_body(second), other),
    ]

    assert [refusal(answer) for answer in reused] == [(422, "idempotency_key_reused")] * 2
    # the routes are two scopes, and so are two tenants
    assert (await ask_booking(api.demo, booking_body(second), key)).status_code == 201
    assert (await ask_hold(api.rival, hold_body((flight_id, "M")), key)).status_code == 201


async def test_a_refusal_is_not_kept(api: Api) -> None:
    flight_id = await put_flight(api.ops, classes=(("Y", 1, "129900"),))
    full, key = await hold(api.demo, (flight_id, "Y")), new_key()
    body = hold_body((flight_id, "Y"))
    assert refusal(await ask_hold(api.demo, body, key)) == (409, "sold_out")
    await api.demo.delete(f"/v1/holds/{full['id']}")

    answer = await ask_hold(api.demo, body, key)

    assert answer.status_code == 201
    assert "idempotent-replayed" not in answer.headers


async def _four_changes(api: Api, flight_id: str) -> tuple[dict[str, Send], list[httpx.Response]]:
    """A hold, its extension, a booking and its cancellation, each with a key."""
    extended: Json = await hold(api.demo, (flight_id, "Y"))
    sold: Json = await hold(api.demo, (flight_id, "M"))
    cancelled: Json = await book(api.demo, await hold(api.demo, (flight_id, "M"), adults=2))
    keys = [new_key() for _ in range(4)]
    sends: dict[str, Send] = {
        "hold": lambda: ask_hold(api.demo, hold_body((flight_id, "Y"), infants=1), keys[0]),
        "extend": lambda: api.demo.post(f"/v1/holds/{extended['id']}/extend", headers=keys[1]),
        "book": lambda: ask_booking(api.demo, booking_body(sold), keys[2]),
        "cancel": lambda: api.demo.post(f"/v1/bookings/{cancelled['id']}/cancel", headers=keys[3]),
    }
    firsts = [await send() for send in sends.values()]
    assert [first.status_code for first in firsts] == [201, 200, 201, 200]
    assert not any("idempotent-replayed" in first.headers for first in firsts)
    return sends, firsts
