"""Two hundred callers, ten seats, two worker processes: ten holds, each booked once."""

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


async def test_ten_seats_are_held_ten_times_and_each_hold_booked_once(start_api: StartApi) -> None:
    api = await start_api(workers=2)
    flight_id = await put_flight(api.ops, classes=(("Y", 10, "129900"),))
    body = hold_body((flight_id, "Y"))

    answers = await asyncio.gather(*(ask_hold(api.demo, body) for _ in range(200)))

    assert Counter(outcome(answer) for answer in answers) == {
        (201, None): 10,
        (409, "sold_out"): 190,
    }
    holds = [answer.json() for answer in answers if answer.status_code == 201]
    assert await seats(api.ops, flight_id) == {"Y": (10, 0, 10)}

    orders = [booking_body(hold) for hold in holds for _ in range(8)]
    booked = await asyncio.gather(*(ask_booking(api.demo, order) for order in orders))

    for number, hold in enumerate(holds):
        of_hold = Counter(outcome(answer) for answer in booked[number * 8 : number * 8 + 8])
        assert of_hold == {(201, None): 1, (409, "hold_not_active"): 7}, hold["id"]
    assert await seats(api.ops, flight_id) == {"Y": (10, 10, 0)}
    assert await api.rows("SELECT sold FROM inventory") == [([10],)]
    assert await api.rows("SELECT count(DISTINCT hold_id), count(*) FROM bookings") == [(10, 10)]
