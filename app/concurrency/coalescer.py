"""Concurrent callers share one piece of work: one script call, one statement, one transaction.

A caller hands in an item and waits for its own answer. What is asked while a batch is under way goes
into the next one, so that batches grow under load alone: an idle coalescer starts at once, and waits
for nobody. It promises

- that a bad item is its own: its answer is an exception in its place, and where the work fails as a
  whole for a reason that smaller batches can cure, its pieces are tried at the same time, and theirs,
  until the bad item stands alone; nobody else's batch waits for that;
- that the work outlives a caller who gives up; an item that was not yet taken up is dropped;
- that items of one key are never in a batch together, and are taken up in the order they came;
- that the queue is bounded: one item more is refused at once.

It knows nothing of what the work is, and must not: it never retries.
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
BATCHES_MAX = 2  # at once: one is written to disk, or on the wire, while the other is put together
QUEUE_MAX = 2048
PIECES = 4  # of a batch that is split


class SplitBatch(Exception):
    """One of many cannot be served with the others; nothing was done, and smaller batches may do."""


@dataclass(frozen=True, slots=True, eq=False)
class _Asked(Generic[Item, Answer]):
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
        """`work` answers item by item, in order, or names a task that will, for one that takes longer
        than the others; `splits` are its failures that smaller batches may cure, beside SplitBatch.
        """
        self._work = work
        self._key = key
        self._splits: tuple[type[Exception], ...] = (SplitBatch, *splits)
        self._batch_max = batch_max
        self._batches_max = batches_max
        self._queue_max = queue_max
        self._queue: deque[_Asked[Item, Answer]] = deque()
        self._busy: dict[Hashable, deque[_Asked[Item, Answer]]] = {}  # who waits for each key
        self._waiting = 0  # in the queue or behind a key
        self._runners: set[asyncio.Task[None]] = set()
        self._pieces: set[asyncio.Task[None]] = set()  # of batches that were split
        self._late: set[asyncio.Task[Answer]] = set()  # of items that take longer than their batch

    async def do(self, item: Item) -> Answer:
        """Raises Overloaded where too many wait already, and whatever the work answers for the item."""
        if self._waiting >= self._queue_max:
            raise Overloaded
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        asked = _Asked(item, self._key(item), answer)
        self._waiting += 1
        behind = self._busy.get(asked.key)
        if behind is not None:
            behind.append(asked)
        else:
            self._enqueue(asked)
        return await answer

    def _enqueue(self, asked: _Asked[Item, Answer]) -> None:
        self._busy[asked.key] = deque()
        self._queue.append(asked)
        if len(self._runners) < self._batches_max:
            # In a context of its own: the work is not the first caller's alone.
            runner = asyncio.create_task(self._run(), context=Context())
            self._runners.add(runner)

    async def _run(self) -> None:
        while batch := self._take():
            try:
                await self._answer(batch)
            except BaseException:  # the loop is ending
                for asked in batch:
                    asked.answer.cancel()
                raise
        # At once, not a turn of the loop later: whoever was answered may have the next item by then.
        self._runners.discard(cast("asyncio.Task[None]", asyncio.current_task()))

    def _take(self) -> list[_Asked[Item, Answer]]:
        batch: list[_Asked[Item, Answer]] = []
        while self._queue and len(batch) < self._batch_max:
            asked = self._queue.popleft()
            self._waiting -= 1
            if asked.answer.done():  # its caller gave up
                self._let_next(asked.key)
            else:
                batch.append(asked)
        return batch

    def _let_next(self, key: Hashable) -> None:
        behind = self._busy.pop(key)
        if behind:
            self._enqueue(behind.popleft())
            self._busy[key] = behind

    async def _answer(self, batch: Sequence[_Asked[Item, Answer]]) -> None:
        try:
            answers = await self._work([asked.item for asked in batch])
            assert len(answers) == len(batch), "one answer for each item"
        except self._splits as error:
            if len(batch) == 1:
                self._settle(batch[0], error)
                return
            size = -(-len(batch) // PIECES)
            for start in range(0, len(batch), size):
                piece = asyncio.create_task(self._answer(batch[start : start + size]))
                self._pieces.add(piece)
                piece.add_done_callback(self._pieces.discard)
        except Exception as error:
            for asked in batch:
                self._settle(asked, error)
        else:
            for asked, answer in zip(batch, answers, strict=True):
                self._settle(asked, answer)

    def _settle(
        self, asked: _Asked[Item, Answer], answer: "Answer | Exception | asyncio.Task[Answer]"
    ) -> None:
        if isinstance(answer, asyncio.Task):
            self._late.add(answer)
            answer.add_done_callback(partial(self._settle_late, asked))
            return
        with suppress(asyncio.InvalidStateError):  # its caller gave up
            if isinstance(answer, Exception):
                asked.answer.set_exception(answer)
            else:
                asked.answer.set_result(answer)
        self._let_next(asked.key)

    def _settle_late(self, asked: _Asked[Item, Answer], task: "asyncio.Task[Answer]") -> None:
        self._late.discard(task)
        if task.cancelled():  # the loop is ending
            asked.answer.cancel()
            return
        error = task.exception()
        assert error is None or isinstance(error, Exception), "a task's work fails or is cancelled"
        self._settle(asked, task.result() if error is None else error)


async def batch_or_each(
    items: Sequence[Item],
    together: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]],
    alone: Callable[[Item], Coroutine[Any, Any, Answer]],
) -> "Sequence[Answer | asyncio.Task[Answer]]":
    """All of them at once; raises SplitBatch where one cannot be served with the others.

    `together` does all or nothing. What splitting cannot cure, that the engine is away or that nobody
    knows what became of it, is everyone's. One by itself may wait for long, and so is late.
    """
    if len(items) == 1:
        return [asyncio.create_task(alone(items[0]))]
    try:
        return await together(items)
    except LockTimedOut as error:
        raise SplitBatch from error
    except DatabaseUnavailable:
        raise
    except Exception as error:  # whose it is, smaller batches will tell
        _log.debug("batch_split", error_type=type(error).__name__, count=len(items))
        raise SplitBatch from error
