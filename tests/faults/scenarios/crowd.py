"""Many callers of a stack: a bounded number run concurrently, and each repeats until it is answered."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

from tests.builders.wire import booking_body, flight_body, hold_body
from tests.faults.processes import ApiProcess
from tests.faults.stack import Stack
from tests.faults.wire import Lost, Reply

CONCURRENT_MAX = 24
ANSWER_SECONDS = 15.0
UNTIL_ANSWERED_SECONDS = 120.0
PAUSE_SECONDS = 0.05

T = TypeVar("T")
R = TypeVar("R")


class Crowd:
    def __init__(self, stack: Stack, label: str) -> None:
        self.stack = stack
        self.label = label
        self._numbers = itertools.count(1)
        self._process_numbers = itertools.count()

    def new_key(self) -> str:
        return f"{self.label}-{next(self._numbers)}"

    async def ask(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        key: str | None = None,
        tenant: str = "demo",
        api: ApiProcess | None = None,
        seconds: float = ANSWER_SECONDS,
    ) -> Reply:
        """One delivery; raises Lost."""
        self.stack.keep_tokens_good()
        apis = self.stack.apis
        asked = api or apis[next(self._process_numbers) % len(apis)]
        headers = {"Authorization": f"Bearer {asked.tokens[tenant]}"}
        if key is not None:
            headers["Idempotency-Key"] = key
        return await asked.wire.call(method, path, headers, body, timeout=seconds)

    async def until_answered(self, method: str, path: str, body: Any = None, **how: Any) -> Reply:
        """Repeat the request until its answer is final."""
        async with asyncio.timeout(UNTIL_ANSWERED_SECONDS):
            while True:
                try:
                    reply = await self.ask(method, path, body, **how)
                except Lost:
                    reply = None
                if reply is not None and not is_retryable(reply):
                    return reply
                await asyncio.sleep(PAUSE_SECONDS)

    async def put_flight(self, seats: int) -> str:
        flight_id = f"flt_{self.new_key()}"
        body = flight_body(classes=(("Y", seats, "129900"),))
        reply = await self.until_answered("PUT", f"/v1/flights/{flight_id}", body, tenant="ops")
        assert reply.status in (200, 201), reply.body
        return flight_id

    async def hold(self, flight_id: str, seats: int = 1, **how: Any) -> Reply:
        how.setdefault("key", self.new_key())
        return await self.until_answered(
            "POST", "/v1/holds", hold_body((flight_id, "Y"), adults=seats), **how
        )

    async def book(self, held: dict[str, Any], **how: Any) -> Reply:
        how.setdefault("key", self.new_key())
        return await self.until_answered("POST", "/v1/bookings", booking_body(held), **how)

    async def until_held(self, flight_id: str) -> float:
        """Seconds from now until a new hold is granted, by any process."""
        began = time.monotonic()
        reply = await self.hold(flight_id)
        assert reply.status == 201, reply.body
        return time.monotonic() - began


def is_retryable(reply: Reply) -> bool:
    """Whether the request should be repeated unchanged, with the same key."""
    return reply.status == 503 or (reply.status == 409 and code(reply) == "idempotency_in_flight")


def code(reply: Reply) -> str:
    return str((reply.json() or {}).get("code"))


async def each(
    things: Iterable[T], work: Callable[[T], Awaitable[R]], *, concurrently: int = CONCURRENT_MAX
) -> list[R]:
    """Run the work for each thing, a few concurrently; returns the results in order."""
    listed = list(enumerate(things))
    answers: dict[int, R] = {}
    waiting = iter(listed)

    async def take() -> None:
        for number, thing in waiting:
            answers[number] = await work(thing)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(min(concurrently, len(listed))):
            tasks.create_task(take())
    return [answers[number] for number, _ in listed]


def parts(things: Sequence[T], size: int) -> list[Sequence[T]]:
    return [things[start : start + size] for start in range(0, len(things), size)]
