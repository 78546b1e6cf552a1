"""A change that was begun is finished, or cancelled by a shutdown that waited for it."""

import asyncio
import io
import json

import pytest

from app.concurrency.detached import DetachedTasks
from app.errors import IdempotencyInFlight


class Change:
    """Runs until `go` is set."""

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
            self.outcome = "cancelled"
            raise
        return self.outcome


async def abandoned(tasks: DetachedTasks, change: Change) -> None:
    """Begins the change and cancels its caller."""
    waiting = asyncio.create_task(tasks.run(change.run()))
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


async def test_a_change_goes_on_without_its_caller() -> None:
    tasks, change = DetachedTasks(), Change()
    await abandoned(tasks, change)
    assert change.outcome == "running"
    change.go.set()
    await tasks.drain(1)
    assert change.outcome == "done"


async def test_a_drain_is_bounded_and_cancels_what_is_left(logged: io.StringIO) -> None:
    tasks, slow, quick = DetachedTasks(), Change(), Change()
    await abandoned(tasks, slow)
    await abandoned(tasks, quick)
    quick.go.set()
    await asyncio.wait_for(tasks.drain(0.05), 1)
    assert (quick.outcome, slow.outcome) == ("done", "cancelled")
    assert json.loads(logged.getvalue())["count"] == 1
    await asyncio.wait_for(tasks.drain(60), 1)  # nothing is left to wait for


async def test_a_failure_without_a_caller_is_logged(logged: io.StringIO) -> None:
    for error in (ValueError("canary"), IdempotencyInFlight()):
        tasks, change = DetachedTasks(), Change(error)
        await abandoned(tasks, change)
        change.go.set()
        await tasks.drain(1)
        await asyncio.sleep(0)
    failed, refused = (json.loads(line) for line in logged.getvalue().splitlines())
    assert (failed["level"], failed["error_type"]) == ("error", "ValueError")
    assert (refused["level"], refused["code"]) == ("info", "idempotency_in_flight")
    assert "canary" not in logged.getvalue()
