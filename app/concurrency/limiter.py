"""How much runs at once: a bounded number, a bounded queue in front, a bounded wait in it.

A burst waits its turn, first come first served; only what could not be answered in time is refused,
at once, as `overloaded`: what would wait too long at the pace at which turns were given of late is not
let into the queue, so that nobody waits in vain and no work is done for a client that gave up. A change
that outlives its request keeps its turn until it has ended.
"""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar, Token
from types import TracebackType

from app.errors import Overloaded
from app.telemetry import ADMISSION_REFUSED, ADMISSION_WAITING

_KNOWN_FOR = 2  # times the longest wait
_LEARNS = 0.02  # how much one turn changes the pace: fifty of them are what counts


class Permit:
    """Given back when everybody who held it has let go."""

    __slots__ = ("_give_back", "_holders")

    def __init__(self, give_back: Callable[[], None]) -> None:
        self._give_back = give_back
        self._holders = 1

    def keep(self) -> None:
        self._holders += 1

    def release(self) -> None:
        self._holders -= 1
        if self._holders == 0:
            self._give_back()


current_permit: ContextVar[Permit | None] = ContextVar("current_permit", default=None)


class Limiter:
    def __init__(
        self, *, concurrency: int = 64, queue: int = 4096, wait_seconds: float = 2.0
    ) -> None:
        self._semaphore = asyncio.Semaphore(concurrency)
        self._concurrency = concurrency
        self._queue = queue
        self._wait_seconds = wait_seconds
        self._waiting = 0
        self._pace_seconds = 0.0  # from turn to turn while others wait, of late
        self._paced_at = float("-inf")  # when it was last learned
        self._given_back_at: float | None = None  # the last turn, if somebody waited for it

    def turn(self) -> "_Waiting":
        """For `async with`: raises Overloaded."""
        return _Waiting(self)

    async def enter(self) -> Permit:
        if self._semaphore.locked():
            await self._wait()
        else:
            await self._semaphore.acquire()
        return Permit(self._give_back)

    async def _wait(self) -> None:
        if self._waiting >= self._queue or self._would_be_late():
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

    def _would_be_late(self) -> bool:
        """As many may wait as run, whatever the pace was: a pace is learned from those who wait. One
        that was learned long ago says nothing.
        """
        if self._waiting < self._concurrency:
            return False
        age = asyncio.get_running_loop().time() - self._paced_at
        is_known = age < _KNOWN_FOR * self._wait_seconds
        return is_known and self._waiting * self._pace_seconds > self._wait_seconds

    def _give_back(self) -> None:
        if self._waiting:
            now = asyncio.get_running_loop().time()
            if self._given_back_at is not None:
                took = now - self._given_back_at
                is_known = now - self._paced_at < _KNOWN_FOR * self._wait_seconds
                known = self._pace_seconds if is_known else took
                self._pace_seconds = known + (took - known) * _LEARNS
                self._paced_at = now
            self._given_back_at = now
        else:
            self._given_back_at = None
        self._semaphore.release()


class _Waiting:
    """One request on its way to a turn, and in it."""

    __slots__ = ("_admission", "_token", "_turn")

    def __init__(self, admission: Limiter) -> None:
        self._admission = admission
        self._turn: Permit | None = None
        self._token: Token[Permit | None] | None = None

    async def __aenter__(self) -> None:
        self._turn = await self._admission.enter()
        self._token = current_permit.set(self._turn)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._turn is not None
        assert self._token is not None
        current_permit.reset(self._token)
        self._turn.release()
