"""Changes that go on when nobody waits for them any more.

A change that was begun is finished whether or not its client is still there, so that a deadline or
a dropped connection can never cut it between two systems. `DetachedTasks` knows every one that runs and
gives them a bounded time at shutdown.
"""

import asyncio
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import Any, TypeVar

import structlog

from app.concurrency.limiter import current_permit
from app.errors import DomainError
from app.telemetry import MUTATIONS_RUNNING, TickGauge

T = TypeVar("T")

_log = structlog.get_logger()


class DetachedTasks:
    """How many there are is bounded by the admission: each keeps its request's turn."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()
        self._level = TickGauge(MUTATIONS_RUNNING)

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Waits for the work; a cancelled wait leaves it running."""
        turn = current_permit.get()
        loop = asyncio.get_running_loop()
        task = loop.create_task(work)
        over: asyncio.Future[None] = loop.create_future()
        self._running.add(task)
        self._level.move(1)
        if turn is not None:
            turn.keep()

        def ended(done: asyncio.Task[T]) -> None:
            self._running.discard(done)
            self._level.move(-1)
            if turn is not None:
                turn.release()
            if over.done():  # nobody waits any more
                _report(done)
            else:
                over.set_result(None)

        task.add_done_callback(ended)
        await over  # and not the task, which would be cancelled with whoever waits for it
        return task.result()

    async def drain(self, seconds: float) -> None:
        """Waits for what runs; what has not ended by then is cancelled."""
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


def _report(task: asyncio.Task[Any]) -> None:
    if task.cancelled():
        return
    error = task.exception()
    if isinstance(error, DomainError):
        _log.info("detached_task_refused", code=error.code)
    elif error is not None:
        _log.error("detached_task_failed", exc_info=error)
