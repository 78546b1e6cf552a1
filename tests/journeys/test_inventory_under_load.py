"""Limits change while seats are held and booked, and no hold or booking is lost."""

import asyncio
import random

from tests.builders.wire import (
    ask_booking,
    ask_hold,
    book,
    booking_body,
    hold,
    hold_body,
    limit_body,
    outcome,
    put_flight,
    refusal,
    seats,
)
from tests.fixtures.api import Api

CALLERS, ROUNDS, CHANGES = 6, 8, 25
EXPECTED = {(201, None), (204, None), (409, "sold_out")}


async def test_a_limit_below_what_is_taken_closes_the_class_and_keeps_holds(api: Api) -> None:
    flight_id = await put_flight(api.ops)
    held = [await hold(api.demo, (flight_id, "Y"), adults=3) for _ in range(2)]

    changed = await api.ops.patch(f"/v1/flights/{flight_id}/inventory", json=limit_body("Y", 4))

    assert changed.status_code == 200
    first = changed.json()["cabins"][0]["booking_classes"][0]
    assert {k: first[k] for k in ("limit", "sold", "held", "open", "status")} == {
        "limit": 4,
        "sold": 0,
        "held": 6,
        "open": 0,
        "status": "held_out",
    }
    assert refusal(await ask_hold(api.demo, hold_body((flight_id, "Y")))) == (409, "sold_out")
    for one in held:
        await book(api.demo, one)
    assert (await seats(api.ops, flight_id))["Y"] == (4, 6, 0)
    await api.ops.patch(f"/v1/flights/{flight_id}/inventory", json=limit_body("Y", 7))
    await hold(api.demo, (flight_id, "Y"))
    assert refusal(await ask_hold(api.demo, hold_body((flight_id, "Y")))) == (409, "sold_out")


async def test_limits_move_while_seats_are_sold(api: Api) -> None:
    flight_id = await put_flight(api.ops, classes=(("Y", 20, "129900"), ("M", 10, "89900")))
    path = f"/v1/flights/{flight_id}/inventory"
    outcomes: list[tuple[int, str | None]] = []
    booked = {"Y": 0, "M": 0}

    async def sell(seed: int) -> None:
        choose = random.Random(seed)
        for _ in range(ROUNDS):
            letter, adults = choose.choice("YM"), choose.randint(1, 3)
            answer = await ask_hold(api.demo, hold_body((flight_id, letter), adults=adults))
            outcomes.append(outcome(answer))
            if answer.status_code != 201:
                continue
            if choose.random() < 0.5:
                ended = await api.demo.delete(f"/v1/holds/{answer.json()['id']}")
            else:
                ended = await ask_booking(api.demo, booking_body(answer.json()))
                booked[letter] += adults
            assert ended.is_success, ended.text
            outcomes.append(outcome(ended))

    async def change() -> None:
        choose = random.Random(7)
        for _ in range(CHANGES):
            letter, limit = choose.choice("YM"), choose.randint(0, 40)
            changed = await api.ops.patch(path, json=limit_body(letter, limit))
            assert changed.status_code == 200, changed.text

    await asyncio.gather(change(), *(sell(seed) for seed in range(CALLERS)))

    assert set(outcomes) <= EXPECTED
    now = await seats(api.ops, flight_id)
    assert {letter: sold for letter, (_, sold, _) in now.items()} == booked
    assert {held for _, _, held in now.values()} == {0}
    rows = await api.rows(
        "SELECT limits, sold FROM inventory WHERE flight_id = :flight", flight=flight_id
    )
    assert rows == [([limit for limit, _, _ in now.values()], list(booked.values()))]
