"""One answer for all who ask the same at the same time, and never one that was begun before they asked.

Whoever asks while nothing is under way for a key begins; whoever asks meanwhile shares the next one, which
begins when this one has ended. So what is read for an answer is read after its question came, and a key
is worked on once at a time, however many ask.

Bounded by those who wait: work that nobody waits for any more is cut off, as a request's own would be.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from contextvars import Context
from functools import partial
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class _Round(Generic[V]):
    __slots__ = ("task", "waiting", "work")

    def __init__(self, work: Callable[[], Awaitable[V]]) -> None:
        self.work = work
        self.waiting: list[asyncio.Future[V]] = []
        self.task: asyncio.Task[V] | None = None


class SingleFlight(Generic[K, V]):
    def __init__(self) -> None:
        self._open: dict[K, _Round[V]] = {}  # not begun: whoever asks joins it
        self._under_way: dict[K, _Round[V]] = {}

    async def get(self, key: K, work: Callable[[], Awaitable[V]]) -> V:
        """Raises what `work` raises, to all who share it. Equal keys stand for equal work."""
        this = self._open.get(key)
        if this is None:
            this = self._open[key] = _Round(work)
            if key not in self._under_way:
                self._begin(key, this)
        answer: asyncio.Future[V] = asyncio.get_running_loop().create_future()
        this.waiting.append(answer)
        try:
            return await answer
        except asyncio.CancelledError:
            this.waiting.remove(answer)
            if not this.waiting:
                self._abandon(key, this)
            raise

    def _begin(self, key: K, this: _Round[V]) -> None:
        self._under_way[key] = this
        # In a context of its own: the work is not the first caller's alone.
        this.task = asyncio.create_task(self._run(key, this), context=Context())
        this.task.add_done_callback(partial(self._ended, key, this))

    async def _run(self, key: K, this: _Round[V]) -> V:
        self._close(key, this)
        return await this.work()

    def _close(self, key: K, this: _Round[V]) -> None:
        if self._open.get(key) is this:
            del self._open[key]

    def _abandon(self, key: K, this: _Round[V]) -> None:
        self._close(key, this)
        if this.task is not None:
            this.task.cancel()

    def _ended(self, key: K, this: _Round[V], task: "asyncio.Task[V]") -> None:
        self._close(key, this)
        del self._under_way[key]
        error = None if task.cancelled() else task.exception()
        for answer in this.waiting:
            if answer.done():  # its caller gives up at this moment
                continue
            if task.cancelled():  # the loop is ending
                answer.cancel()
            elif error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(task.result())
        following = self._open.get(key)
        if following is not None:
            self._begin(key, following)
