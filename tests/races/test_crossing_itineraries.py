"""Itineraries that need the same two flights in opposite order: all or nothing, and never a deadlock."""

import asyncio
from collections import Counter

from tests.builders.wire import (
    ask_booking,
    ask_hold,
    booking_body,
    hold_body,
    outcome,
    put_flight,
    seats,
)
from tests.fixtures.api import StartApi

SEATS, CALLERS, ROUNDS = 9, 12, 4


async def test_crossing_itineraries(start_api: StartApi) -> None:
    api = await start_api(workers=2)
    there = await put_flight(api.ops, classes=(("Y", SEATS, "129900"),))
    back = await put_flight(api.ops, classes=(("Y", SEATS + 3, "129900"),), hour=10)
    outcomes: Counter[tuple[int, str | None]] = Counter()
    booked = 0

    async def travel(caller: int) -> None:
        """Holds both ways, books, and gives every second one back."""
        nonlocal booked
        order = [(there, "Y"), (back, "Y")]
        if caller % 2:
            order.reverse()
        for number in range(ROUNDS):
            answer = await ask_hold(api.demo, hold_body(*order))
            outcomes[outcome(answer)] += 1
            if answer.status_code != 201:
                continue
            sold = await ask_booking(api.demo, booking_body(answer.json()))
            outcomes[outcome(sold)] += 1
            booked += 1
            if (caller // 2 + number) % 2:
                path = f"/v1/bookings/{sold.json()['id']}/cancel"
                cancelled = await asyncio.gather(*(api.demo.post(path) for _ in range(2)))
                outcomes.update(outcome(one) for one in cancelled)
                booked -= 1

    await asyncio.gather(*(travel(caller) for caller in range(CALLERS)))

    assert set(outcomes) == {(201, None), (200, None), (409, "sold_out")}
    assert await seats(api.ops, there) == {"Y": (SEATS, booked, 0)}
    assert await seats(api.ops, back) == {"Y": (SEATS + 3, booked, 0)}
    deadlocks = await api.rows(
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    )
    assert deadlocks == [(0,)]
