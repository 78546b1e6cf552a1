"""Buses for tests of the relay: each records the events it accepts, in order, and fails as configured."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from app.outbox.model import Event
from app.outbox.publisher import Accepted, Outcome, Refused

Judge = Callable[[Sequence[Event]], Awaitable[Sequence[Outcome]]]


async def accept_all(batch: Sequence[Event]) -> Sequence[Outcome]:
    return [Accepted()] * len(batch)


class RecordingBus:
    """`judge` decides the outcome of a batch; accepted events are recorded once it has returned.

    Several buses may share one list of `delivered`, as several relays share one real bus.
    """

    def __init__(self, judge: Judge = accept_all, delivered: list[Event] | None = None) -> None:
        self.judge = judge
        self.delivered: list[Event] = [] if delivered is None else delivered
        self.batches: list[Sequence[Event]] = []
        self._news = asyncio.Condition()

    async def publish(self, batch: Sequence[Event]) -> Sequence[Outcome]:
        self.batches.append(batch)
        async with self._news:
            self._news.notify_all()
        outcomes = await self.judge(batch)
        self.delivered += [
            event
            for event, outcome in zip(batch, outcomes, strict=False)
            if isinstance(outcome, Accepted)
        ]
        async with self._news:
            self._news.notify_all()
        return outcomes

    async def close(self) -> None:
        pass

    async def until(self, condition: Callable[[], bool], seconds: float = 10) -> None:
        """Returns when the condition holds after some step of this bus."""
        async with asyncio.timeout(seconds), self._news:
            await self._news.wait_for(condition)

    async def until_delivered(self, count: int) -> None:
        """So many different events."""
        await self.until(lambda: len({event.id for event in self.delivered}) >= count)


def refusing(
    *ids: str, retryable: bool = False, reason: str = "too_odd"
) -> Callable[[Sequence[Event]], Awaitable[Sequence[Outcome]]]:
    """A judge that refuses the events of these aggregates, or of all if none is named."""

    async def judge(batch: Sequence[Event]) -> Sequence[Outcome]:
        return [
            Refused(retryable, reason) if not ids or event.aggregate.id in ids else Accepted()
            for event in batch
        ]

    return judge


def first_deliveries(delivered: Sequence[Event]) -> dict[str, list[int]]:
    """By aggregate, the sequences in the order in which each came for the first time."""
    firsts: dict[str, list[int]] = {}
    for event in delivered:
        seen = firsts.setdefault(event.aggregate.id, [])
        if event.sequence not in seen:
            seen.append(event.sequence)
    return firsts
