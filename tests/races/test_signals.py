"""SIGTERM while requests are under way: each gets its answer, and no process remains."""

import asyncio
import signal

import pytest

from tests.builders.wire import (
    ask_booking,
    book,
    booking_body,
    hold,
    outcome,
    put_flight,
)
from tests.fixtures.api import Api, StartApi, StartRelay, inventory_locked

UNDER_WAY = 6


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("workers", [1, 2])
async def test_the_api_answers_what_is_under_way(
    start_api: StartApi, workers: int, number: signal.Signals
) -> None:
    api = await start_api(workers=workers)
    flight_id = await put_flight(api.ops)
    holds = [await hold(api.demo, (flight_id, "Y")) for _ in range(UNDER_WAY)]
    assert len(api.members()) >= workers

    async with inventory_locked(api, flight_id):
        bookings = [asyncio.create_task(ask_booking(api.demo, booking_body(h))) for h in holds]
        await api.until_waiting(UNDER_WAY)
        api.send(number)
        await _until_stopping(api, workers)
        await asyncio.sleep(
            0.5
        )  # time in which a server that does not drain would cut the requests off
    answers = await asyncio.gather(*bookings)
    code = await api.wait()

    assert [outcome(answer) for answer in answers] == [(201, None)] * UNDER_WAY
    assert code == 0
    assert await api.rows("SELECT sold FROM inventory") == [([UNDER_WAY, 0],)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_relay_ends_while_it_publishes(
    start_api: StartApi, start_relay: StartRelay, number: signal.Signals
) -> None:
    api = await start_api()
    flight_id = await put_flight(api.ops, classes=(("Y", 99, "129900"),))
    relay = await start_relay(api)
    await book(api.demo, await hold(api.demo, (flight_id, "Y")))
    published = "SELECT count(*) > 0 FROM outbox WHERE published_at IS NOT NULL"
    await api.until(published, [(True,)])

    relay.send(number)
    ended = asyncio.create_task(relay.wait())
    while not ended.done():
        await book(api.demo, await hold(api.demo, (flight_id, "Y")))

    assert await ended == 0
    again = await start_relay(api)
    await api.until("SELECT count(*) FROM outbox WHERE published_at IS NULL", [(0,)])
    await again.stop()


async def _until_stopping(api: Api, workers: int) -> None:
    """Returns when every worker has stopped taking connections."""
    async with asyncio.timeout(10):
        while True:
            if api.log.read_text().count('"Shutting down"') >= workers:
                return
            await asyncio.sleep(0.02)
