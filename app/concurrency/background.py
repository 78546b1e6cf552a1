"""Background tasks: fire-and-forget work (bounded, drained at shutdown) and periodic jobs.

A crash may lose a background task, so each of them is only work that a repair job would also do.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

import structlog

from app.errors import DomainError

_log = structlog.get_logger(__name__)

TASKS_MAX = 1000


class Background:
    """Fire-and-forget work of one process."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, name: str, work: Coroutine[Any, Any, Any]) -> None:
        """Returns at once; when TASKS_MAX tasks are under way, runs the work before it returns."""
        if len(self._tasks) >= TASKS_MAX:
            await _run_logged(name, work)
            return
        task = asyncio.create_task(_run_logged(name, work), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self, seconds: float) -> None:
        """Waits for the tasks under way; cancels those that have not ended after `seconds`."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        for task in self._tasks:
            task.cancel()


async def repeat(
    name: str, work: Callable[[], Awaitable[object]], every_seconds: float, stop: asyncio.Event
) -> None:
    """Runs a periodic job until `stop` is set; a pass that fails is followed by the next one."""
    while not stop.is_set():
        try:
            await work()
        except DomainError as error:
            _log.debug("job_postponed", job=name, error_type=type(error).__name__)
        except Exception:  # a defect in one job must not end the others
            _log.exception("job_failed", job=name)
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), every_seconds)


async def _run_logged(name: str, work: Coroutine[Any, Any, Any]) -> None:
    try:
        await work
    except Exception as error:  # the repair job for this kind of work will do it
        _log.warning("background_task_failed", job=name, error_type=type(error).__name__)
