"""When a hold expires its seat has exactly one owner: it is not granted early, and not twice."""

import asyncio
import time
from collections import Counter
from datetime import UTC, datetime

import httpx

from tests.builders.wire import (
    Json,
    ask_booking,
    ask_hold,
    booking_body,
    hold,
    hold_body,
    new_key,
    outcome,
    put_flight,
    refusal,
    seats,
)
from tests.fixtures.api import StartApi, inventory_locked

TTL_SECONDS = 2


async def test_the_seat_is_free_at_expires_at_and_not_before(start_api: StartApi) -> None:
    api = await start_api(workers=2, ttl_seconds=TTL_SECONDS)
    flight_id = await put_flight(api.ops, classes=(("Y", 1, "129900"),))
    first = await hold(api.demo, (flight_id, "Y"))
    expires_at = _instant(first["expires_at"])
    taken = asyncio.Event()
    refused: list[tuple[datetime, datetime]] = []  # when it was sent, and when answered

    async def hurry() -> Json | None:
        """Request the seat until a client has it."""
        async with api.new_client("rival") as client:
            while not taken.is_set():
                sent_at = datetime.now(UTC)
                answer = await ask_hold(client, hold_body((flight_id, "Y")))
                if answer.status_code == 201:
                    taken.set()
                    got: Json = answer.json()
                    return got
                assert refusal(answer) == (409, "sold_out")
                refused.append((sent_at, datetime.now(UTC)))
        return None

    async with asyncio.timeout(TTL_SECONDS + 6):
        got = [one for one in await asyncio.gather(*(hurry() for _ in range(4))) if one is not None]

    assert len(got) == 1
    granted_at = _instant(got[0]["created_at"])
    assert granted_at >= expires_at, "granted while it was another's"
    assert len(refused) > 20
    assert not [
        (sent_at, answered_at)
        for sent_at, answered_at in refused
        if sent_at >= expires_at and answered_at < granted_at
    ], "refused although the seat was free"


async def test_a_hold_that_runs_out_while_its_booking_waits_has_one_owner(
    start_api: StartApi,
) -> None:
    """The booking waits for a row that is locked until the hold has expired."""
    api = await start_api(workers=2, ttl_seconds=TTL_SECONDS)
    flight_id = await put_flight(api.ops, classes=(("Y", 1, "129900"),))
    its_hold = await hold(api.demo, (flight_id, "Y"))
    expires_at = _instant(its_hold["expires_at"]).timestamp()
    key = new_key()

    async with inventory_locked(api, flight_id):
        await asyncio.sleep(max(0.0, expires_at - 0.5 - time.time()))
        booking = asyncio.create_task(ask_booking(api.demo, booking_body(its_hold), key))
        rivals = await _hold_until(api.rival, flight_id, expires_at + 0.7)
    booked = await booking

    rivals |= await _hold_until(api.rival, flight_id, time.time() + 0.2)
    owners = (booked.status_code == 201) + rivals[201, None]
    assert owners == 1, (outcome(booked), rivals)
    assert set(rivals) <= {(201, None), (409, "sold_out")}
    assert outcome(booked) == (201, None), "it was asked for in time and pinned"
    assert await seats(api.ops, flight_id) == {"Y": (1, 1, 0)}
    assert await api.rows("SELECT count(*) FROM bookings") == [(1,)]


async def test_a_booking_that_waits_too_long_gives_the_hold_back_to_its_time(
    start_api: StartApi,
) -> None:
    """Longer than any lock is waited for: it is refused, and the seat is not lost with it."""
    api = await start_api(workers=2, ttl_seconds=TTL_SECONDS)
    flight_id = await put_flight(api.ops, classes=(("Y", 1, "129900"),))
    its_hold = await hold(api.demo, (flight_id, "Y"))
    key, order = new_key(), booking_body(its_hold)

    async with inventory_locked(api, flight_id):
        refused = await ask_booking(api.demo, order, key)
    assert refused.status_code == 503, refused.text
    assert refused.json()["retryable"]
    assert int(refused.headers["retry-after"]) >= 1

    rivals: Counter[tuple[int, str | None]] = Counter()
    async with asyncio.timeout(8):
        while not rivals[201, None]:
            rivals |= await _hold_until(api.rival, flight_id, time.time() + 0.2)
    assert refusal(await ask_booking(api.demo, order, key)) == (410, "hold_expired")
    assert await api.rows("SELECT count(*) FROM bookings") == [(0,)]


async def _hold_until(
    client: httpx.AsyncClient, flight_id: str, end: float
) -> Counter[tuple[int, str | None]]:
    """What came of asking for the seat again and again."""
    outcomes: Counter[tuple[int, str | None]] = Counter()
    while time.time() < end:
        outcomes[outcome(await ask_hold(client, hold_body((flight_id, "Y"))))] += 1
    return outcomes


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)
