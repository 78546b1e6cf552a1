"""Work that is done once for a whole tick of the event loop.

A busy worker answers many requests in one tick. Writing a log line or a gauge for each of them would cost
more than the line or the number is worth.
"""

import asyncio
from collections.abc import Callable

from prometheus_client import Gauge


class OncePerTick:
    """Calls a function at the end of a tick, however often `request` was called in it."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act = act
        self._requested_on: asyncio.AbstractEventLoop | None = None

    def request(self) -> None:
        loop = asyncio.get_running_loop()
        if (
            self._requested_on is not loop
        ):  # also if another loop ended before it called the function
            self._requested_on = loop
            loop.call_soon(self._call)

    def _call(self) -> None:
        self._requested_on = None
        self._act()


class TickGauge:
    """A gauge of a number that changes with every request, set once per tick."""

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge
        self._value = 0
        self._set_soon = OncePerTick(self._set)

    def add(self, amount: int) -> None:
        self._value += amount
        self._set_soon.request()

    def _set(self) -> None:
        self._gauge.set(self._value)
