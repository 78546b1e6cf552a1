"""A client disconnects during a request: the request takes effect once, and a retry gets its answer."""

import asyncio
import json

from tests.builders.wire import (
    Json,
    ask_booking,
    ask_hold,
    booking_body,
    hold,
    hold_body,
    new_key,
    put_flight,
    seats,
)
from tests.fixtures.api import Api, inventory_locked, locked


async def test_a_hold_is_placed_after_its_client_disconnects(api: Api) -> None:
    flight_id = await put_flight(api.ops)
    key, body = new_key(), hold_body((flight_id, "Y"), adults=2)

    async with locked(api, "LOCK TABLE hold_journal IN SHARE MODE"):
        await _send_and_hang_up(api, "/v1/holds", body, key)
    await api.until(
        "SELECT count(*) FROM hold_journal WHERE idempotency_key = :key",
        [(1,)],
        key=key["Idempotency-Key"],
    )

    again = await ask_hold(api.demo, body, key)
    assert (again.status_code, again.headers.get("idempotent-replayed")) == (201, "true")
    assert (await seats(api.ops, flight_id))["Y"] == (10, 0, 2)


async def test_a_booking_is_made_after_its_client_disconnects(api: Api) -> None:
    flight_id = await put_flight(api.ops)
    order = booking_body(await hold(api.demo, (flight_id, "Y"), adults=2))
    key = new_key()

    async with inventory_locked(api, flight_id):
        await _send_and_hang_up(api, "/v1/bookings", order, key)
    await api.until(
        "SELECT count(*) FROM bookings WHERE hold_id = :hold", [(1,)], hold=order["hold_id"]
    )

    again = await ask_booking(api.demo, order, key)
    assert (again.status_code, again.headers.get("idempotent-replayed")) == (201, "true")
    assert (await seats(api.ops, flight_id))["Y"] == (10, 2, 0)


async def test_a_retry_during_the_lost_request_has_one_effect(api: Api) -> None:
    """The client hangs up and asks again at once, while the first is still under way."""
    flight_id = await put_flight(api.ops)
    order = booking_body(await hold(api.demo, (flight_id, "Y"), adults=2))
    key = new_key()

    async with inventory_locked(api, flight_id):
        await _send_and_hang_up(api, "/v1/bookings", order, key)
        retry = asyncio.create_task(ask_booking(api.demo, order, key))
    again = await retry

    assert (again.status_code, again.headers.get("idempotent-replayed")) == (201, "true")
    assert (await seats(api.ops, flight_id))["Y"] == (10, 2, 0)


async def _send_and_hang_up(api: Api, path: str, body: Json, key: dict[str, str]) -> None:
    content = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: holdfast\r\nAuthorization: Bearer {api.tokens['demo']}\r\n"
        f"Idempotency-Key: {key['Idempotency-Key']}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    _, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(head.encode() + content)
    await writer.drain()
    await api.until_waiting()  # it is under way, and cannot end before the lock is given back
    writer.transport.abort()
    await asyncio.sleep(0.1)  # for the server to see it
