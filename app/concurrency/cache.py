"""Answers of queries, kept in this process for a limited time: bounded, and each loaded once at a time.

An entry is *fresh*, then *stale*, then too old. A stale entry is answered at once and loaded again in the
background. An entry that is too old is loaded while its callers wait, in one load for all of them.
`invalidate` drops every entry with a tag. A load that was under way then may have read the old state, so
its callers get its answer and it is not kept. An answer may be out of date by
`fresh_seconds + stale_seconds` and no more: a caller that acts on it has to check it again.
"""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Hashable
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from app.concurrency.background import Background
from app.concurrency.single_flight import SingleFlight

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class _Entry(Generic[V]):
    value: V
    asked_at: float
    weight: int
    tags: frozenset[Hashable]


@dataclass(frozen=True, slots=True, eq=False)
class _Load:
    tags: frozenset[Hashable]
    asked_at: float


class Cache(Generic[K, V]):
    """`weigh` gives an answer's share of `weight_max`; the least recently used entries are dropped first."""

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
        self._flights: SingleFlight[K, V] = SingleFlight()
        self._loads: dict[K, _Load] = {}  # that read now
        self._refreshing: set[K] = set()

    async def get(self, key: K, tags: Collection[Hashable], load: Callable[[], Awaitable[V]]) -> V:
        """Raises what `load` raises, to all callers that waited for it."""
        entry = self._entries.get(key)
        if entry is not None:
            age = self._now() - entry.asked_at
            if age < self._fresh_seconds + self._stale_seconds:
                self._entries.move_to_end(key)
                if age >= self._fresh_seconds and key not in self._refreshing:
                    self._refreshing.add(key)
                    await self._background.start("refresh", self._refresh(key, tags, load))
                return entry.value
        return await self._flights.join(key, partial(self._load, key, frozenset(tags), load))

    def invalidate(self, tag: Hashable) -> None:
        for key in self._tagged.get(tag, set()).copy():
            self.drop(key)
        for key in [key for key, under_way in self._loads.items() if tag in under_way.tags]:
            del self._loads[key]
            self._flights.forget(key)

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

    async def _refresh(
        self, key: K, tags: Collection[Hashable], load: Callable[[], Awaitable[V]]
    ) -> None:
        try:
            await self._flights.join(key, partial(self._load, key, frozenset(tags), load))
        finally:
            self._refreshing.discard(key)

    async def _load(self, key: K, tags: frozenset[Hashable], load: Callable[[], Awaitable[V]]) -> V:
        this = self._loads[key] = _Load(tags, self._now())
        try:
            value = await load()
            if self._loads.get(key) is this:
                self._keep(key, _Entry(value, this.asked_at, self._weigh(value), tags))
            return value
        finally:
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
