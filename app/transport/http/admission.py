"""How much runs at once: a bounded number, a bounded queue in front, a bounded wait in it.

A burst waits its turn, first come first served; only what could not be answered in time is refused,
at once, as `overloaded`. A change that outlives its request keeps its turn until it has ended.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

from app.errors import Overloaded
from app.telemetry import ADMISSION_REFUSED, ADMISSION_WAITING


class Turn:
    """Given back when everybody who held it has let go."""

    __slots__ = ("_holders", "_semaphore")

    def __init__(self, semaphore: asyncio.Semaphore) -> None:
        self._semaphore = semaphore
        self._holders = 1

    def keep(self) -> None:
        self._holders += 1

    def release(self) -> None:
        self._holders -= 1
        if self._holders == 0:
            self._semaphore.release()


current_turn: ContextVar[Turn | None] = ContextVar("current_turn", default=None)


class Admission:
    def __init__(
        self, *, concurrency: int = 64, queue: int = 512, wait_seconds: float = 2.0
    ) -> None:
        self._semaphore = asyncio.Semaphore(concurrency)
        self._queue = queue
        self._wait_seconds = wait_seconds
        self._waiting = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Raises Overloaded."""
        if self._semaphore.locked():
            await self._wait()
        else:
            await self._semaphore.acquire()
        turn = Turn(self._semaphore)
        token = current_turn.set(turn)
        try:
            yield
        finally:
            current_turn.reset(token)
            turn.release()

    async def _wait(self) -> None:
        if self._waiting >= self._queue:
            ADMISSION_REFUSED.inc()
            raise Overloaded
        self._waiting += 1
        ADMISSION_WAITING.inc()
        try:
            async with asyncio.timeout(self._wait_seconds):
                await self._semaphore.acquire()
        except TimeoutError:
            ADMISSION_REFUSED.inc()
            raise Overloaded from None
        finally:
            self._waiting -= 1
            ADMISSION_WAITING.dec()
