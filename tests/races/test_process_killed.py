"""The API is killed during a thousand bookings: each is made completely or not at all."""

import asyncio
import itertools

import httpx

from tests.builders.wire import (
    Json,
    ask_booking,
    ask_hold,
    booking_body,
    hold,
    hold_body,
    new_key,
    put_flight,
    refusal,
    seats,
    told,
)
from tests.fixtures.api import Api, StartApi, inventory_locked

BOOKINGS, CLIENTS, KILLED_AFTER = 1000, 8, 400
FLIGHTS = 4
HALF_MADE = """
    SELECT j.hold_id
    FROM hold_journal j
    LEFT JOIN bookings b USING (hold_id)
    LEFT JOIN booking_passengers p ON p.booking_id = b.booking_id
    LEFT JOIN outbox o ON o.aggregate_id = b.booking_id AND o.type = 'booking.confirmed'
    LEFT JOIN idempotency_records i ON i.subject_id = b.booking_id
    GROUP BY j.hold_id
    HAVING NOT (
        max(j.state) = 'CONFIRMED' AND count(DISTINCT b.booking_id) = 1
            AND count(DISTINCT p.place) = 1 AND count(DISTINCT o.event_id) = 1
            AND count(DISTINCT i.idempotency_key) = 1
        OR max(j.state) = 'HELD' AND count(b.booking_id) = 0
    )
"""
CONFIRMED = "SELECT count(*) FROM hold_journal WHERE state = 'CONFIRMED'"
SUMS = """
    SELECT
        (SELECT sum(sold_total) FROM inventory),
        (SELECT count(*) FROM booking_passengers),
        (SELECT count(*) FROM outbox WHERE type = 'booking.confirmed')
"""


async def test_a_thousand_bookings_survive_the_death_of_their_api(start_api: StartApi) -> None:
    api = await start_api(workers=2)
    flights = [
        await put_flight(api.ops, classes=(("Y", BOOKINGS, "129900"),), hour=8 + number)
        for number in range(FLIGHTS)
    ]
    orders = await _hold_all(api, flights)
    keys = [new_key() for _ in orders]

    answered = await _book_until_killed(api, flights[0], orders, keys)

    assert KILLED_AFTER <= len(answered) < BOOKINGS
    (confirmed,) = (await api.rows(CONFIRMED))[0]
    assert len(answered) <= confirmed < BOOKINGS, "what was answered was made"
    await _assert_whole(api, confirmed)

    await api.start()
    await _assert_redis_agrees(api, flights, confirmed)
    answers = dict(answered)
    retried = [n for n in range(BOOKINGS) if n not in answered or n % 10 == 0]
    for chunk in _chunks(retried):
        again = await asyncio.gather(*(ask_booking(api.demo, orders[n], keys[n]) for n in chunk))
        for number, answer in zip(chunk, again, strict=True):
            assert answer.status_code == 201, answer.text
            assert told(answers.setdefault(number, answer)) == told(answer)

    await _assert_whole(api, BOOKINGS)
    await _assert_redis_agrees(api, flights, BOOKINGS)


async def test_holds_of_a_killed_api_expire(start_api: StartApi) -> None:
    """Without retries: holds that were not booked expire, and their seats are sold to others."""
    api = await start_api(workers=2, ttl_seconds=3)
    flight_id = await put_flight(api.ops, classes=(("Y", 6, "129900"),))
    holds = [await hold(api.demo, (flight_id, "Y")) for _ in range(6)]

    async with inventory_locked(api, flight_id):
        bookings = [asyncio.create_task(ask_booking(api.demo, booking_body(h))) for h in holds]
        await api.until_waiting(len(holds))
        await api.kill()
    lost = await asyncio.gather(*bookings, return_exceptions=True)
    assert all(isinstance(one, httpx.TransportError) for one in lost), lost

    await api.start()
    async with asyncio.timeout(20):
        while (answer := await ask_hold(api.rival, hold_body((flight_id, "Y"), adults=6))).is_error:
            assert refusal(answer) == (409, "sold_out")
            await asyncio.sleep(0.1)
    assert await seats(api.ops, flight_id) == {"Y": (6, 0, 6)}
    assert await api.rows("SELECT count(*) FROM bookings") == [(0,)]


async def _hold_all(api: Api, flights: list[str]) -> list[Json]:
    """One adult each, the flights in turn."""
    turns = itertools.cycle(flights)
    orders: list[Json] = []
    for chunk in _chunks(list(range(BOOKINGS))):
        held = await asyncio.gather(*(hold(api.demo, (next(turns), "Y")) for _ in chunk))
        orders += [booking_body(one) for one in held]
    return orders


async def _book_until_killed(
    api: Api, flight_id: str, orders: list[Json], keys: list[dict[str, str]]
) -> dict[int, httpx.Response]:
    """What was answered, by the order's number.

    Some are caught in the middle of their transactions, by a lock on that flight.
    """
    answered: dict[int, httpx.Response] = {}
    numbers = iter(range(BOOKINGS))
    enough = asyncio.Event()

    async def work() -> None:
        async with api.new_client("demo") as client:
            for number in numbers:
                try:
                    answer = await ask_booking(client, orders[number], keys[number])
                except httpx.TransportError:
                    return
                assert answer.status_code == 201, answer.text
                answered[number] = answer
                if len(answered) == KILLED_AFTER:
                    enough.set()

    working = asyncio.gather(*(work() for _ in range(CLIENTS)))
    await enough.wait()
    async with inventory_locked(api, flight_id):
        await api.until_waiting(2)
        await api.kill()
    await working
    return answered


async def _assert_whole(api: Api, confirmed: int) -> None:
    assert await api.rows(HALF_MADE) == []
    assert await api.rows(SUMS) == [(confirmed, confirmed, confirmed)]
    assert await api.rows(CONFIRMED) == [(confirmed,)]


async def _assert_redis_agrees(api: Api, flights: list[str], sold: int) -> None:
    """Soon: the next process brings to Redis what the killed one did not."""
    async with asyncio.timeout(15):
        while True:
            shown = [(await seats(api.ops, flight))["Y"] for flight in flights]
            if (
                sum(one[1] for one in shown) == sold
                and sum(one[2] for one in shown) == BOOKINGS - sold
            ):
                return
            await asyncio.sleep(0.1)


def _chunks(numbers: list[int]) -> list[list[int]]:
    return [numbers[first : first + 25] for first in range(0, len(numbers), 25)]
