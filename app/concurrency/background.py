"""Work that nobody waits for: once, bounded in number and awaited for a moment at the end; or for ever.

What is started here may be lost in a crash, so it is only ever work that something else repairs.
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
    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, name: str, work: Coroutine[Any, Any, Any]) -> None:
        """Returns at once; where too much is under way already, does the work first."""
        if len(self._tasks) >= TASKS_MAX:
            await _logged(name, work)
            return
        task = asyncio.create_task(_logged(name, work), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self, seconds: float) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        for task in self._tasks:
            task.cancel()


async def repeat(
    name: str, work: Callable[[], Awaitable[object]], every_seconds: float, stop: asyncio.Event
) -> None:
    """Does the work again and again until `stop`. What is away or refused now is tried next time."""
    while not stop.is_set():
        try:
            await work()
        except DomainError as error:
            _log.debug("job_postponed", job=name, error_type=type(error).__name__)
        except Exception:  # a mistake of ours must not end the repairs of everybody else
            _log.exception("job_failed", job=name)
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), every_seconds)


async def _logged(name: str, work: Coroutine[Any, Any, Any]) -> None:
    try:
        await work
    except Exception as error:  # whatever it was, the repair that exists for it will see to it
        _log.warning("background_task_failed", job=name, error_type=type(error).__name__)
