"""A change that was begun is finished, or cut off by a shutdown that waited."""

import asyncio
import io
import json

import pytest

from app.concurrency.detached import DetachedTasks
from app.errors import IdempotencyInFlight


class Change:
    """Runs until it is let go."""

    def __init__(self, error: Exception | None = None) -> None:
        self.begun, self.go = asyncio.Event(), asyncio.Event()
        self.outcome = "running"
        self._error = error

    async def run(self) -> str:
        try:
            self.begun.set()
            await self.go.wait()
            if self._error is not None:
                raise self._error
            self.outcome = "done"
        except asyncio.CancelledError:
            self.outcome = "cut off"
            raise
        return self.outcome


async def abandoned(mutations: DetachedTasks, change: Change) -> None:
    """Begins the change and cancels who waits for it."""
    waiting = asyncio.create_task(mutations.run(change.run()))
    await change.begun.wait()
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()


async def test_the_result_comes_back() -> None:
    change = Change()
    change.go.set()
    assert await DetachedTasks().run(change.run()) == "done"


async def test_an_error_comes_back() -> None:
    change = Change(IdempotencyInFlight())
    change.go.set()
    with pytest.raises(IdempotencyInFlight):
        await DetachedTasks().run(change.run())


async def test_nobody_needs_to_wait() -> None:
    mutations, change = DetachedTasks(), Change()
    await abandoned(mutations, change)
    assert change.outcome == "running"
    change.go.set()
    await mutations.drain(1)
    assert change.outcome == "done"


async def test_a_drain_is_bounded_and_cuts_off_what_is_left(logged: io.StringIO) -> None:
    mutations, slow, quick = DetachedTasks(), Change(), Change()
    await abandoned(mutations, slow)
    await abandoned(mutations, quick)
    quick.go.set()
    await asyncio.wait_for(mutations.drain(0.05), 1)
    assert (quick.outcome, slow.outcome) == ("done", "cut off")
    assert json.loads(logged.getvalue())["count"] == 1
    await asyncio.wait_for(mutations.drain(60), 1)  # nothing is left to wait for


async def test_a_failure_that_nobody_waits_for_is_recorded(logged: io.StringIO) -> None:
    for error in (ValueError("canary"), IdempotencyInFlight()):
        mutations, change = DetachedTasks(), Change(error)
        await abandoned(mutations, change)
        change.go.set()
        await mutations.drain(1)
        await asyncio.sleep(0)
    failed, refused = (json.loads(line) for line in logged.getvalue().splitlines())
    assert (failed["level"], failed["error_type"]) == ("error", "ValueError")
    assert (refused["level"], refused["code"]) == ("info", "idempotency_in_flight")
    assert "canary" not in logged.getvalue()
