"""Mutations that run to completion even if the client disconnects or times out.

A deadline or a dropped connection must never cut a change between two systems. `DetachedTasks` knows every
task that runs, and gives them a bounded time at shutdown.
"""

import asyncio
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import Any, TypeVar

import structlog

from app.concurrency.limiter import current_permit
from app.errors import DomainError
from app.telemetry.metrics import MUTATIONS_RUNNING
from app.telemetry.ticks import TickGauge

T = TypeVar("T")

_log = structlog.get_logger()


class DetachedTasks:
    """The limiter bounds their number: each task keeps the permit of its request."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()
        self._running_gauge = TickGauge(MUTATIONS_RUNNING)

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Waits for the work. If the caller is cancelled, the work goes on."""
        permit = current_permit.get()
        loop = asyncio.get_running_loop()
        task = loop.create_task(work)
        ended: asyncio.Future[None] = loop.create_future()
        self._running.add(task)
        self._running_gauge.add(1)
        if permit is not None:
            permit.keep()

        def end(done: asyncio.Task[T]) -> None:
            self._running.discard(done)
            self._running_gauge.add(-1)
            if permit is not None:
                permit.release()
            if ended.done():  # the caller was cancelled
                _log_failure(done)
            else:
                ended.set_result(None)

        task.add_done_callback(end)
        await ended  # and not the task, which would be cancelled with its caller
        return task.result()

    async def drain(self, seconds: float) -> None:
        """Waits for the tasks under way; cancels those that have not ended after `seconds`."""
        if not self._running:
            return
        _, late = await asyncio.wait(tuple(self._running), timeout=seconds)
        if late:
            _log.warning("detached_tasks_cancelled", count=len(late))
            for task in late:
                task.cancel()
            await asyncio.wait(late, timeout=1)


async def run_detached(work: Coroutine[Any, Any, T]) -> T:
    """Runs a change of the current request so that it survives the request."""
    return await current_detached_tasks.get().run(work)


current_detached_tasks: ContextVar[DetachedTasks] = ContextVar("current_detached_tasks")


def _log_failure(task: asyncio.Task[Any]) -> None:
    if task.cancelled():
        return
    error = task.exception()
    if isinstance(error, DomainError):
        _log.info("detached_task_refused", code=error.code)
    elif error is not None:
        _log.error("detached_task_failed", exc_info=error)
