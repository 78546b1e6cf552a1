"""Concurrent callers share one piece of work: one script call, one statement, one transaction.

A caller submits an item and waits for its own answer. Items that come while a batch is under way go into
the next batch, so batches grow under load alone: an idle coalescer starts at once. It promises

- that a bad item fails alone: its answer is an exception in its place. Where the work fails as a whole for a
  reason that smaller batches can cure, the parts of the batch are tried at the same time, and their parts,
  until the bad item is in a batch of its own; other batches do not wait for that;
- that work under way goes on if its caller is cancelled; an item still in the queue is dropped;
- that two items of one key are never in the same batch, and are served in the order in which they came;
- that the queue is bounded: one item more is refused at once.

It does not know what the work is, and it never retries.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Sequence
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar, cast

import structlog

from app.errors import DatabaseUnavailable, LockTimedOut, Overloaded

_log = structlog.get_logger(__name__)

Item = TypeVar("Item")
Answer = TypeVar("Answer")

BATCH_MAX = 64
BATCHES_MAX = 2  # at once: one is written to disk, or on the wire, while the other is assembled
QUEUE_MAX = 2048
PIECES = 4  # of a batch that is split


class SplitBatch(Exception):
    """One item cannot be served in this batch. Nothing was done, and smaller batches may succeed."""


@dataclass(frozen=True, slots=True, eq=False)
class _Pending(Generic[Item, Answer]):
    item: Item
    key: Hashable
    answer: "asyncio.Future[Answer]"


class Coalescer(Generic[Item, Answer]):
    def __init__(
        self,
        work: Callable[
            [Sequence[Item]], Awaitable[Sequence["Answer | Exception | asyncio.Task[Answer]"]]
        ],
        key: Callable[[Item], Hashable],
        *,
        splits: tuple[type[Exception], ...] = (),
        batch_max: int = BATCH_MAX,
        batches_max: int = BATCHES_MAX,
        queue_max: int = QUEUE_MAX,
    ) -> None:
        """`work` answers item by item, in order. For an item that takes longer than the others it may
        return a task. `splits` are failures, besides SplitBatch, that smaller batches may cure.
        """
        self._work = work
        self._key = key
        self._splits: tuple[type[Exception], ...] = (SplitBatch, *splits)
        self._batch_max = batch_max
        self._batches_max = batches_max
        self._queue_max = queue_max
        self._queue: deque[_Pending[Item, Answer]] = deque()
        # For each key that is queued or served: the later items of that key.
        self._later_of_key: dict[Hashable, deque[_Pending[Item, Answer]]] = {}
        self._waiting = 0  # in the queue, or later items of a key
        self._runners: set[asyncio.Task[None]] = set()
        self._pieces: set[asyncio.Task[None]] = set()  # of batches that were split
        self._slow: set[asyncio.Task[Answer]] = set()  # of items that take longer than their batch

    async def submit(self, item: Item) -> Answer:
        """Raises Overloaded if too many items wait already, and the exception that answers the item."""
        if self._waiting >= self._queue_max:
            raise Overloaded
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        pending = _Pending(item, self._key(item), answer)
        self._waiting += 1
        later = self._later_of_key.get(pending.key)
        if later is not None:
            later.append(pending)
        else:
            self._enqueue(pending)
        return await answer

    def _enqueue(self, pending: _Pending[Item, Answer]) -> None:
        self._later_of_key[pending.key] = deque()
        self._queue.append(pending)
        if len(self._runners) < self._batches_max:
            # In a context of its own: the work is not the first caller's alone.
            runner = asyncio.create_task(self._run(), context=Context())
            self._runners.add(runner)

    async def _run(self) -> None:
        while batch := self._take():
            try:
                await self._serve(batch)
            except BaseException:  # the loop is ending
                for pending in batch:
                    pending.answer.cancel()
                raise
        # At once, not a tick later: a caller that was answered may submit its next item in this tick.
        self._runners.discard(cast("asyncio.Task[None]", asyncio.current_task()))

    def _take(self) -> list[_Pending[Item, Answer]]:
        batch: list[_Pending[Item, Answer]] = []
        while self._queue and len(batch) < self._batch_max:
            pending = self._queue.popleft()
            self._waiting -= 1
            if pending.answer.done():  # its caller was cancelled
                self._release_key(pending.key)
            else:
                batch.append(pending)
        return batch

    def _release_key(self, key: Hashable) -> None:
        later = self._later_of_key.pop(key)
        if later:
            self._enqueue(later.popleft())
            self._later_of_key[key] = later

    async def _serve(self, batch: Sequence[_Pending[Item, Answer]]) -> None:
        try:
            answers = await self._work([pending.item for pending in batch])
            assert len(answers) == len(batch), "one answer for each item"
        except self._splits as error:
            if len(batch) == 1:
                self._settle(batch[0], error)
                return
            size = -(-len(batch) // PIECES)
            for start in range(0, len(batch), size):
                piece = asyncio.create_task(self._serve(batch[start : start + size]))
                self._pieces.add(piece)
                piece.add_done_callback(self._pieces.discard)
        except Exception as error:
            for pending in batch:
                self._settle(pending, error)
        else:
            for pending, answer in zip(batch, answers, strict=True):
                self._settle(pending, answer)

    def _settle(
        self, pending: _Pending[Item, Answer], answer: "Answer | Exception | asyncio.Task[Answer]"
    ) -> None:
        if isinstance(answer, asyncio.Task):
            self._slow.add(answer)
            answer.add_done_callback(partial(self._settle_slow, pending))
            return
        with suppress(asyncio.InvalidStateError):  # its caller was cancelled
            if isinstance(answer, Exception):
                pending.answer.set_exception(answer)
            else:
                pending.answer.set_result(answer)
        self._release_key(pending.key)

    def _settle_slow(self, pending: _Pending[Item, Answer], task: "asyncio.Task[Answer]") -> None:
        self._slow.discard(task)
        if task.cancelled():  # the loop is ending
            pending.answer.cancel()
            return
        error = task.exception()
        assert error is None or isinstance(error, Exception), "a task's work fails or is cancelled"
        self._settle(pending, task.result() if error is None else error)


async def batch_or_each(
    items: Sequence[Item],
    serve_batch: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]],
    serve_one: Callable[[Item], Coroutine[Any, Any, Answer]],
) -> "Sequence[Answer | asyncio.Task[Answer]]":
    """Serves all items at once. Raises SplitBatch if one of them cannot be served with the others.

    `serve_batch` does all or nothing. Failures that splitting cannot cure (the database is unavailable, an
    outcome is unknown) are the answer of every item. A single item may wait for a lock for long, so it is
    served by a task.
    """
    if len(items) == 1:
        return [asyncio.create_task(serve_one(items[0]))]
    try:
        return await serve_batch(items)
    except LockTimedOut as error:
        raise SplitBatch from error
    except DatabaseUnavailable:
        raise
    except Exception as error:  # smaller batches show which item is at fault
        _log.debug("batch_split", error_type=type(error).__name__, count=len(items))
        raise SplitBatch from error
