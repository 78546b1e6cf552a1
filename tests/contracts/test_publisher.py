"""The contract of every bus. A new adapter is one more row of `BUSES`."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from app.adapters.eventbridge import EventBridge
from app.adapters.log_bus import LogBus
from app.adapters.null_bus import NullBus
from app.outbox.model import Event
from app.outbox.publisher import Accepted, Publisher
from tests.builders.facts import a_fact, a_shared_fact, an_event
from tests.fixtures.aws import account, stub_bus

Envelope = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Bus:
    """A publisher and its receiving end; `received` is None if events cannot be read back."""

    publisher: Publisher
    received: Callable[[], Sequence[Envelope]] | None


@asynccontextmanager
async def log_bus() -> AsyncIterator[Bus]:
    output, written = os.pipe()
    os.set_blocking(output, False)
    lines = bytearray()

    def received() -> Sequence[Envelope]:
        try:
            while more := os.read(output, 65536):
                lines.extend(more)
        except BlockingIOError:
            pass
        return [json.loads(line) for line in lines.split(b"\n")[:-1]]

    publisher = LogBus(written)
    yield Bus(publisher, received)
    await publisher.close()
    os.close(written)
    os.close(output)


@asynccontextmanager
async def null_bus() -> AsyncIterator[Bus]:
    publisher = NullBus()
    yield Bus(publisher, None)
    await publisher.close()


@asynccontextmanager
async def eventbridge() -> AsyncIterator[Bus]:
    with account():
        async with stub_bus() as stub:
            publisher = EventBridge("flights", endpoint_url=stub.url)
            yield Bus(publisher, lambda: stub.taken)
            await publisher.close()


BUSES: dict[str, Callable[[], AbstractAsyncContextManager[Bus]]] = {
    "eventbridge": eventbridge,
    "log": log_bus,
    "null": null_bus,
}

AWKWARD = {
    "line breaks": "a\nb\r\nc\u2028d\u2029e\x85f\x00",
    "quotes": "\"'\\",
    "letters": "Ñandú 東京 \N{AIRPLANE}",
    "numbers": [0, -1, 2**53, 1.5, True, None],
    "empty": {"object": {}, "array": [], "text": ""},
}


@pytest.fixture(params=BUSES)
async def bus(request: pytest.FixtureRequest) -> AsyncIterator[Bus]:
    async with BUSES[request.param]() as bus:
        yield bus


async def test_each_event_gets_one_outcome_and_arrives_in_the_order_given(bus: Bus) -> None:
    batch = [an_event(a_fact(f"bkg_{place}", place + 1)) for place in range(100)]
    assert await bus.publisher.publish(batch) == [Accepted()] * 100
    assert_received(bus, batch)


async def test_nothing_to_publish_has_no_outcome(bus: Bus) -> None:
    assert list(await bus.publisher.publish([])) == []
    assert_received(bus, [])


async def test_the_envelope_arrives_as_it_is(bus: Bus) -> None:
    batch = [an_event(a_fact(data=AWKWARD, seconds=0.25)), an_event(a_shared_fact())]
    assert await bus.publisher.publish(batch) == [Accepted(), Accepted()]
    assert_received(bus, batch)


async def test_the_same_event_is_taken_again(bus: Bus) -> None:
    event = an_event()
    assert await bus.publisher.publish([event]) == [Accepted()]
    assert await bus.publisher.publish([event]) == [Accepted()]
    if bus.received is not None:
        assert {envelope["id"] for envelope in bus.received()} == {event.id}


async def test_after_a_publish_that_was_given_up_the_next_one_works(bus: Bus) -> None:
    """The relay gives up at its deadline; the outcome of that batch is then unknown."""
    given_up, batch = an_event(a_fact("bkg_given_up")), [an_event(a_fact("bkg_next"))]
    task = asyncio.create_task(_publish(bus.publisher, [given_up]))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    async with asyncio.timeout(5):
        while await bus.publisher.publish(batch) != [Accepted()]:  # noqa: ASYNC110 - still busy
            await asyncio.sleep(0.001)
    if bus.received is not None:
        assert batch[0].to_json() in bus.received()


async def test_closing_is_repeatable(bus: Bus) -> None:
    await bus.publisher.close()
    await bus.publisher.close()


def assert_received(bus: Bus, batch: Sequence[Event]) -> None:
    if bus.received is not None:
        assert list(bus.received()) == [event.to_json() for event in batch]


async def _publish(publisher: Publisher, batch: Sequence[Event]) -> None:
    await publisher.publish(batch)
