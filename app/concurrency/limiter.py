"""Bounds how much runs at once: a number of permits, a bounded queue for them, a bounded wait in it.

A burst waits in the order in which it came. A request is refused at once, as `overloaded`, if at the recent
service rate it would wait longer than the maximum: so no work is done for a client that has given up. A
change that runs longer than its request keeps the permit until it has ended.
"""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar, Token
from types import TracebackType

from app.errors import Overloaded
from app.telemetry.metrics import ADMISSION_REFUSED, ADMISSION_WAITING

_MEASURED_FOR = 2  # times the longest wait; an older measurement of the rate is not used
_SMOOTHING = 0.02  # the weight of one release in the average: it covers about the last fifty


class Permit:
    """The right to run. It returns to the limiter when all its holders have released it."""

    __slots__ = ("_holders", "_on_release")

    def __init__(self, on_release: Callable[[], None]) -> None:
        self._on_release = on_release
        self._holders = 1

    def keep(self) -> None:
        """Adds a holder."""
        self._holders += 1

    def release(self) -> None:
        self._holders -= 1
        if self._holders == 0:
            self._on_release()


current_permit: ContextVar[Permit | None] = ContextVar("current_permit", default=None)


class Limiter:
    """Gives `concurrency` permits; at most `queue` callers wait for one, at most `wait_seconds`."""

    def __init__(
        self, *, concurrency: int = 64, queue: int = 4096, wait_seconds: float = 2.0
    ) -> None:
        self._semaphore = asyncio.Semaphore(concurrency)
        self._concurrency = concurrency
        self._queue = queue
        self._wait_seconds = wait_seconds
        self._waiting = 0
        self._interval_seconds = 0.0  # between two releases while others wait, on average
        self._measured_at = float("-inf")
        self._released_at: float | None = None  # the last release, if a caller waited for it

    def permit(self) -> "_HeldPermit":
        """A permit for the body of an `async with`. Raises Overloaded."""
        return _HeldPermit(self)

    async def acquire(self) -> Permit:
        """Raises Overloaded."""
        if self._semaphore.locked():
            await self._wait()
        else:
            await self._semaphore.acquire()
        return Permit(self._release)

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
        """Whether the queue takes longer than the maximum at the recent rate.

        As many callers may always wait as run, because the rate is measured only while callers wait.
        """
        if self._waiting < self._concurrency:
            return False
        age = asyncio.get_running_loop().time() - self._measured_at
        is_recent = age < _MEASURED_FOR * self._wait_seconds
        return is_recent and self._waiting * self._interval_seconds > self._wait_seconds

    def _release(self) -> None:
        if self._waiting:
            now = asyncio.get_running_loop().time()
            if self._released_at is not None:
                interval = now - self._released_at
                is_recent = now - self._measured_at < _MEASURED_FOR * self._wait_seconds
                average = self._interval_seconds if is_recent else interval
                self._interval_seconds = average + (interval - average) * _SMOOTHING
                self._measured_at = now
            self._released_at = now
        else:
            self._released_at = None
        self._semaphore.release()


class _HeldPermit:
    """Acquires a permit at the beginning of an `async with` and releases it at the end."""

    __slots__ = ("_limiter", "_permit", "_token")

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter
        self._permit: Permit | None = None
        self._token: Token[Permit | None] | None = None

    async def __aenter__(self) -> None:
        self._permit = await self._limiter.acquire()
        self._token = current_permit.set(self._permit)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._permit is not None
        assert self._token is not None
        current_permit.reset(self._token)
        self._permit.release()
