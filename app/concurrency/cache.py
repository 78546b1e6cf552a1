"""Answers of queries kept for a moment in this process: bounded, and each loaded by one caller at a time.

An entry is *fresh* for a while, then *stale* for a while: a stale one is answered at once and loaded again
behind the answer. An older one is loaded by the first who asks, and all who ask meanwhile wait for that
one load. `invalidate` drops every entry with a tag; a load that was under way then may have read what was
before, so it is answered to those who wait and kept for nobody. What is kept may be out of date by
`fresh_seconds + stale_seconds` and never more: whoever acts on it has to judge it again.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from app.concurrency.background import Background

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class _Entry(Generic[V]):
    value: V
    loaded_at: float
    weight: int
    tags: frozenset[Hashable]


@dataclass(frozen=True, slots=True, eq=False)
class _Load(Generic[V]):
    answer: "asyncio.Future[V]"
    tags: frozenset[Hashable]
    asked_at: float


class Cache(Generic[K, V]):
    """`weigh` says how much room an answer takes of `weight_max`; who was asked for longest ago goes."""

    def __init__(
        self,
        background: Background,
        *,
        fresh_seconds: float,
        stale_seconds: float,
        weight_max: int,
        weigh: Callable[[V], int],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._background = background
        self._fresh_seconds = fresh_seconds
        self._stale_seconds = stale_seconds
        self._weight_max = weight_max
        self._weigh = weigh
        self._now = now
        self._entries: OrderedDict[K, _Entry[V]] = OrderedDict()
        self._tagged: dict[Hashable, set[K]] = {}
        self._weight = 0
        self._loads: dict[K, _Load[V]] = {}

    async def get(self, key: K, tags: Collection[Hashable], load: Callable[[], Awaitable[V]]) -> V:
        """Raises what `load` raises, to all who waited for it."""
        while True:
            entry = self._entries.get(key)
            age = 0.0 if entry is None else self._now() - entry.loaded_at
            if entry is not None and age < self._fresh_seconds + self._stale_seconds:
                self._entries.move_to_end(key)
                if age >= self._fresh_seconds and key not in self._loads:
                    this = self._begin(key, tags)
                    await self._background.start("refresh", self._finish(key, this, load))
                return entry.value
            under_way = self._loads.get(key)
            if under_way is None:
                return await self._finish(key, self._begin(key, tags), load)
            await asyncio.wait([under_way.answer])
            if (
                not under_way.answer.cancelled()
            ):  # else who loaded was cut off, and the next one loads
                return under_way.answer.result()

    def invalidate(self, tag: Hashable) -> None:
        for key in self._tagged.get(tag, set()).copy():
            self.drop(key)
        for key in [key for key, under_way in self._loads.items() if tag in under_way.tags]:
            del self._loads[key]

    def drop(self, key: K) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        self._weight -= entry.weight
        for tag in entry.tags:
            keys = self._tagged[tag]
            keys.discard(key)
            if not keys:
                del self._tagged[tag]

    def _begin(self, key: K, tags: Collection[Hashable]) -> _Load[V]:
        answer: asyncio.Future[V] = asyncio.get_running_loop().create_future()
        this = self._loads[key] = _Load(answer, frozenset(tags), self._now())
        return this

    async def _finish(self, key: K, this: _Load[V], load: Callable[[], Awaitable[V]]) -> V:
        try:
            value = await load()
        except Exception as error:
            this.answer.set_exception(error)
            this.answer.exception()  # heard, if by nobody else
            raise
        else:
            if self._loads.get(key) is this:
                self._keep(key, _Entry(value, this.asked_at, self._weigh(value), this.tags))
            this.answer.set_result(value)
            return value
        finally:
            if not this.answer.done():
                this.answer.cancel()
            if self._loads.get(key) is this:
                del self._loads[key]

    def _keep(self, key: K, entry: _Entry[V]) -> None:
        self.drop(key)
        if entry.weight > self._weight_max:
            return
        self._entries[key] = entry
        self._weight += entry.weight
        for tag in entry.tags:
            self._tagged.setdefault(tag, set()).add(key)
        while self._weight > self._weight_max:
            self.drop(next(iter(self._entries)))
