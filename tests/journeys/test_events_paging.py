"""A poller that keeps its cursor receives every fact once and in order, while facts are being written."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import httpx

from tests.builders.wire import (
    Json,
    ask_booking,
    book,
    booking_body,
    hold,
    limit_body,
    put_flight,
    refusal,
)
from tests.fixtures.api import Api

WRITERS, EACH = 6, 8


async def test_a_poller_misses_nothing_and_sees_nothing_twice(api: Api) -> None:
    flight_id = await put_flight(api.ops, classes=(("Y", 99, "129900"),))
    start = await _end(api.demo)
    made: list[str] = []

    async def write() -> None:
        for number in range(EACH):
            booked = await ask_booking(
                api.demo, booking_body(await hold(api.demo, (flight_id, "Y")))
            )
            made.append(booked.json()["id"])
            if number % 2:
                await api.demo.post(f"/v1/bookings/{made[-1]}/cancel")

    writing = asyncio.gather(*(write() for _ in range(WRITERS)))
    seen: list[Json] = []
    async with asyncio.timeout(40):
        async for event in _poll(api.demo, start, limit=3):
            seen.append(event)
            if len(seen) == WRITERS * EACH * 3 // 2 and writing.done():
                break
    await writing

    assert max(Counter(event["id"] for event in seen).values()) == 1
    of_booking = Counter(event["aggregate"]["id"] for event in seen)
    assert set(of_booking) == set(made)
    for booking_id in made:
        sequences = [e["sequence"] for e in seen if e["aggregate"]["id"] == booking_id]
        assert sequences == list(range(1, len(sequences) + 1))
    assert await _pages(api.demo, start, limit=200) == seen, "the past does not change"


async def test_events_are_filtered_by_type(api: Api) -> None:
    flight_id = await put_flight(api.ops)
    start = await _end(api.demo)
    booking = await book(api.demo, await hold(api.demo, (flight_id, "Y")))
    await api.demo.post(f"/v1/bookings/{booking['id']}/cancel")
    cancelled: list[Json] = []
    async with asyncio.timeout(10):
        while not cancelled:
            cancelled = await _pages(api.demo, None, limit=200, type="booking.cancelled")
            cancelled = [e for e in cancelled if e["aggregate"]["id"] == booking["id"]]
    assert [event["type"] for event in cancelled] == ["booking.cancelled"]
    mixed = await api.demo.get("/v1/events", params={"type": "booking.cancelled", "after": start})
    assert refusal(mixed) == (422, "validation_error")
    unknown = await api.demo.get("/v1/events", params={"type": "booking.lost"})
    assert refusal(unknown) == (422, "validation_error")


async def test_only_administrators_see_changes_of_inventory(api: Api) -> None:
    flight_id = await put_flight(api.ops)
    demo_start, ops_start = await _end(api.demo), await _end(api.ops)
    await api.ops.patch(f"/v1/flights/{flight_id}/inventory", json=limit_body("Y", 7))

    async with asyncio.timeout(10):
        event = await anext(_poll(api.ops, ops_start, limit=3))

    assert (event["type"], event["tenant_id"]) == ("flight.inventory_changed", None)
    assert event["aggregate"] == {"type": "flight", "id": flight_id}
    assert await _pages(api.demo, demo_start, limit=3) == []


async def _poll(client: httpx.AsyncClient, after: str | None, *, limit: int) -> AsyncIterator[Json]:
    while True:
        page = await _page(client, after, limit=limit)
        for event in page["data"]:
            yield event
        after = page["meta"]["after"]
        if not page["data"]:
            await asyncio.sleep(0.02)


async def _pages(
    client: httpx.AsyncClient, after: str | None, *, limit: int, **query: str
) -> list[Json]:
    """All that there is after the cursor."""
    found: list[Json] = []
    while True:
        page = await _page(client, after, limit=limit, **query)
        found += page["data"]
        after = page["meta"]["after"]
        if not page["meta"]["has_more"]:
            return found


async def _end(client: httpx.AsyncClient) -> str | None:
    """The cursor after everything listed now; the pause before it lets earlier facts get their positions."""
    after, quiet = None, 0
    while quiet < 5:
        page = await _page(client, after, limit=200)
        after = page["meta"]["after"]
        quiet = 0 if page["data"] else quiet + 1
        await asyncio.sleep(0.1)
    return after


async def _page(client: httpx.AsyncClient, after: str | None, *, limit: int, **query: str) -> Json:
    asked = {"limit": str(limit), **query} | ({"after": after} if after else {})
    answer = await client.get("/v1/events", params=asked)
    assert answer.status_code == 200, answer.text
    page: Json = answer.json()
    return page
