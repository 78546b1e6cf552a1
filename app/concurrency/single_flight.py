"""Concurrent callers with the same question share one execution of it.

A key has at most one execution at a time. A caller that comes while it runs chooses:

- `join` takes the answer of the execution under way: for a question whose answer may be a little old;
- `join_next` waits for the execution that begins when this one has ended, together with all others that wait
  for it: what an answer is made of is then read after its question came.

An execution runs for as long as a caller waits for it. It is cancelled when the last one has left, as a
request's own work would be. Nothing is kept: `Cache` does that.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from contextvars import Context
from functools import partial
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class _Execution(Generic[V]):
    __slots__ = ("task", "waiting", "work")

    def __init__(self, work: Callable[[], Awaitable[V]]) -> None:
        self.work = work
        self.waiting: list[asyncio.Future[V]] = []
        self.task: asyncio.Task[V] | None = None


class SingleFlight(Generic[K, V]):
    """Equal keys stand for equal work."""

    def __init__(self) -> None:
        self._next: dict[K, _Execution[V]] = {}  # not begun: it may still be joined
        self._under_way: dict[K, _Execution[V]] = {}

    async def join(self, key: K, work: Callable[[], Awaitable[V]]) -> V:
        """The answer of the execution under way, or of a new one. Raises what `work` raises, to all."""
        execution = self._under_way.get(key)
        if execution is None or not execution.waiting:  # without a caller it has been cancelled
            return await self.join_next(key, work)
        return await self._answer_of(key, execution)

    async def join_next(self, key: K, work: Callable[[], Awaitable[V]]) -> V:
        """The answer of an execution that begins after this call. Raises what `work` raises, to all."""
        execution = self._next.get(key)
        if execution is None:
            execution = self._next[key] = _Execution(work)
            if key not in self._under_way:
                self._begin(key, execution)
        return await self._answer_of(key, execution)

    def forget(self, key: K) -> None:
        """The execution under way still answers its callers; later callers do not join it."""
        self._under_way.pop(key, None)

    async def _answer_of(self, key: K, execution: _Execution[V]) -> V:
        answer: asyncio.Future[V] = asyncio.get_running_loop().create_future()
        execution.waiting.append(answer)
        try:
            return await answer
        except asyncio.CancelledError:
            execution.waiting.remove(answer)
            if not execution.waiting:
                self._abandon(key, execution)
            raise

    def _begin(self, key: K, execution: _Execution[V]) -> None:
        self._under_way[key] = execution
        # In a context of its own: the work is not the first caller's alone.
        execution.task = asyncio.create_task(self._run(key, execution), context=Context())
        execution.task.add_done_callback(partial(self._end, key, execution))

    async def _run(self, key: K, execution: _Execution[V]) -> V:
        self._close(key, execution)
        return await execution.work()

    def _close(self, key: K, execution: _Execution[V]) -> None:
        if self._next.get(key) is execution:
            del self._next[key]

    def _abandon(self, key: K, execution: _Execution[V]) -> None:
        self._close(key, execution)
        if execution.task is not None:
            execution.task.cancel()

    def _end(self, key: K, execution: _Execution[V], task: "asyncio.Task[V]") -> None:
        self._close(key, execution)
        if self._under_way.get(key) is execution:
            del self._under_way[key]
        error = None if task.cancelled() else task.exception()
        for answer in execution.waiting:
            if answer.done():  # its caller was cancelled in this very tick
                continue
            if task.cancelled():  # the loop is ending
                answer.cancel()
            elif error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(task.result())
        following = self._next.get(key)
        if following is not None and key not in self._under_way:
            self._begin(key, following)
