"""A deterministic event loop: virtual time, no threads, no sockets, random order of ready callbacks.

Every callback belongs to the process in whose context it was made. Callbacks of a frozen process wait
until it resumes, those of a dead one never run. Nothing sleeps: the scheduler moves the time.
"""

import asyncio
import heapq
import itertools
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from random import Random
from typing import Any, cast

OWNER: ContextVar["Process | None"] = ContextVar("OWNER", default=None)


class Process:
    """One simulated process of the application: its tasks, and whether they run."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_dead = False
        self.is_frozen = False
        self.is_cut_off_from: object | None = None  # a server to which connections fail
        self.parked: list[Handle] = []  # callbacks that run once the process is resumed


class Handle:
    """A scheduled callback: the part of asyncio.Handle that tasks and timeouts use."""

    __slots__ = ("args", "callback", "context", "is_cancelled", "process")

    def __init__(
        self, callback: Callable[..., object], args: tuple[Any, ...], context: Context | None
    ) -> None:
        self.callback = callback
        self.args = args
        self.context = copy_context() if context is None else context
        self.process = self.context.get(OWNER)
        self.is_cancelled = False

    def cancel(self) -> None:
        """Skip the callback when its time comes."""
        self.is_cancelled = True


class Task(asyncio.Task[Any]):
    """A task with a number as its hash, so that a set of tasks has the same order in every run."""

    def __init__(self, number: int, coro: Coroutine[Any, Any, Any], **settings: Any) -> None:
        self._number = number
        super().__init__(coro, **settings)

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


class Loop:
    """The part of an event loop that asyncio's tasks, futures and timeouts use."""

    def __init__(self, chance: Random) -> None:
        self.now = 0  # microseconds
        self.faults: list[BaseException] = []  # exceptions that no task caught
        self.tasks: list[Task] = []
        self._chance = chance
        self._ready: list[Handle] = []
        self._timers: list[tuple[int, int, Handle]] = []
        self._numbers = itertools.count()
        self._running: Process | None = None
        self._self = cast("asyncio.AbstractEventLoop", self)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Make this the running loop, once for a whole run rather than for each step."""
        asyncio._set_running_loop(self._self)
        try:
            yield
        finally:
            asyncio._set_running_loop(None)

    def run_ready(self) -> None:
        """Run callbacks until everything waits for an effect or for time."""
        ready, draw = self._ready, self._chance.randrange
        while ready:
            handle = ready.pop(draw(len(ready)) if len(ready) > 1 else 0)
            if handle.is_cancelled:
                continue
            process = handle.process
            if process is not None:
                if process.is_dead:
                    continue
                if process.is_frozen:
                    process.parked.append(handle)
                    continue
            self._running = process
            try:
                handle.context.run(handle.callback, *handle.args)
            except Exception as error:
                self.faults.append(error)

    def wake(self, process: Process) -> None:
        process.is_frozen = False
        self._ready += process.parked
        process.parked.clear()

    def next_timer(self) -> int | None:
        while self._timers and self._timers[0][2].is_cancelled:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def move_to(self, now: int) -> None:
        """Move the time to `now`; the timers due by then become ready."""
        self.now = max(self.now, now)
        while self._timers and self._timers[0][0] <= self.now:
            _, _, handle = heapq.heappop(self._timers)
            if not handle.is_cancelled:
                self._ready.append(handle)

    def spawn(self, process: Process | None, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        context = copy_context()
        context.run(OWNER.set, process)
        task = Task(next(self._numbers), work, loop=self._self, context=context)
        self.tasks.append(task)
        return task

    def end(self) -> None:
        """Discard everything that still waits, without asyncio's warnings."""
        self._ready.clear()
        self._timers.clear()
        for task in self.tasks:
            if not task.done():
                setattr(task, "_log_destroy_pending", False)  # noqa: B010 - it has no such name in its stub
                try:
                    task.get_coro().close()
                except (Exception, asyncio.CancelledError):
                    continue
        self._ready.clear()
        self.tasks.clear()

    # The interface that asyncio expects of a loop.

    def time(self) -> float:
        return self.now / 1_000_000

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Handle:
        handle = Handle(callback, args, context)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_later(
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> Handle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> Handle:
        handle = Handle(callback, args, context)
        at = max(self.now, round(when * 1_000_000))
        heapq.heappush(self._timers, (at, next(self._numbers), handle))
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self._self)

    def create_task(
        self,
        coro: Coroutine[Any, Any, Any],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> asyncio.Task[Any]:
        if context is not None:  # a task made without it would not know its process
            context.run(OWNER.set, self._running)
        task = Task(next(self._numbers), coro, loop=self._self, name=name, context=context)
        self.tasks.append(task)
        return task

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, Exception) and "never retrieved" not in context["message"]:
            self.faults.append(error)
