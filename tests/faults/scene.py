"""What the clients of one episode share: the stack, its flights, the history, the rate, and the end time.

Every delivery of every request is recorded with its outcome. A client without an answer repeats its request
with the same key, at the same or another process, until it is answered or the episode is closed.
"""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.builders.wire import Classes, Json, booking_body, flight_body, hold_body
from tests.faults.history import OK, REFUSED, UNKNOWN, History, Operation
from tests.faults.processes import ApiProcess
from tests.faults.stack import Stack
from tests.faults.wire import Lost, Reply

PATIENCE_SECONDS = 8.0  # longer than any answer of a process that runs may take
SETTLING_SECONDS = 20.0  # after the end of an episode, for what is still unknown
_KEPT_HEADERS = (
    "x-request-id",
    "location",
    "idempotent-replayed",
    "retry-after",
    "content-type",
    "cache-control",
)
_IN_FLIGHT = "idempotency_in_flight"


@dataclass(frozen=True, slots=True)
class Request:
    kind: str
    method: str
    path: str
    body: Json | None = None
    key: str | None = None
    subject: str | None = None
    query: str = ""


class RateLimiter:
    """Limits the rate of all calls in total: a call that is early waits."""

    def __init__(self, per_second: float) -> None:
        self._every = 1 / per_second
        self._next = 0.0

    async def wait(self) -> None:
        now = time.monotonic()
        mine, self._next = self._next, max(now - 0.1, self._next) + self._every
        if mine > now:
            await asyncio.sleep(mine - now)


@dataclass
class Scene:
    stack: Stack
    label: str  # no other episode's of this machine: part of every id
    chance: Random
    limiter: RateLimiter
    history: History = field(default_factory=History)
    hangs_up: float = 0.0  # how often a client gives up after some milliseconds
    ends_at: float = 0.0  # by time.monotonic
    flights: dict[str, Classes] = field(default_factory=dict)
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    _operations: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    @property
    def is_on(self) -> bool:
        return time.monotonic() < self.ends_at

    @property
    def is_closed(self) -> bool:
        return time.monotonic() > self.ends_at + SETTLING_SECONDS

    def next_operation(self) -> int:
        return next(self._operations)

    def new_key(self) -> str:
        return f"{self.label}-k{next(self._numbers)}"

    def client(self, tenant: str = "demo") -> "Client":
        number = next(self._numbers)
        return Client(self, f"c{number}", tenant, Random(f"{self.label}/{number}"))

    async def put_flight(self, classes: Classes, *, hour: int = 8) -> str:
        """Put a new flight on sale, before the history begins."""
        flight_id = f"flt_{self.label}-{next(self._numbers)}"
        body = flight_body(classes=classes, hour=hour)
        for api in itertools.cycle(self.stack.apis):
            try:
                reply = await api.wire.call(
                    "PUT",
                    f"/v1/flights/{flight_id}",
                    {"Authorization": f"Bearer {api.tokens['ops']}"},
                    body,
                    timeout=PATIENCE_SECONDS,
                )
            except Lost:
                reply = None
            if reply is not None and reply.status in (200, 201):
                self.flights[flight_id] = classes
                return flight_id
            if reply is not None and reply.status != 503:
                raise RuntimeError(f"PUT flight: {reply.status} {reply.body[:300]!r}")
            if self.is_closed:
                break
            await asyncio.sleep(0.1)
        raise RuntimeError("no flight could be put on sale")


class Client:
    """One caller: of one tenant, with a preferred process and random choices of its own."""

    def __init__(self, scene: Scene, name: str, tenant: str, chance: Random) -> None:
        self.scene = scene
        self.name = name
        self.tenant = tenant
        self.chance = chance
        self.home = chance.randrange(len(scene.stack.apis))

    async def hold(
        self, *choices: tuple[str, str], adults: int = 1, key: str | None = None
    ) -> Operation:
        return await self.settle(self.hold_request(*choices, adults=adults, key=key))

    async def book(self, held: Json, *, key: str | None = None) -> Operation:
        return await self.settle(self.book_request(held, key=key))

    async def release(self, hold_id: str) -> Operation:
        return await self.settle(self.release_request(hold_id))

    async def extend(self, hold_id: str) -> Operation:
        return await self.settle(self.extend_request(hold_id))

    async def cancel(self, booking_id: str, *, key: str | None = None) -> Operation:
        return await self.settle(self.cancel_request(booking_id, key=key))

    async def get_hold(self, hold_id: str) -> Operation:
        return await self.ask(Request("get_hold", "GET", f"/v1/holds/{hold_id}", subject=hold_id))

    async def get_booking(self, booking_id: str) -> Operation:
        return await self.ask(
            Request("get_booking", "GET", f"/v1/bookings/{booking_id}", subject=booking_id)
        )

    async def availability(self, flight_id: str) -> Operation:
        path = f"/v1/flights/{flight_id}/availability"
        return await self.ask(Request("availability", "GET", path, subject=flight_id))

    async def events(self, query: str) -> Operation:
        return await self.ask(Request("events", "GET", "/v1/events", query=query))

    async def patch(self, flight_id: str, limits: dict[str, int]) -> Operation:
        """Not repeated: another client's change may have followed an unknown one."""
        classes = [{"booking_class": letter, "limit": limit} for letter, limit in limits.items()]
        body = {"cabins": [{"cabin": "economy", "booking_classes": classes}]}
        path = f"/v1/flights/{flight_id}/inventory"
        return await self.ask(Request("patch", "PATCH", path, body, subject=flight_id))

    def hold_request(
        self, *choices: tuple[str, str], adults: int = 1, key: str | None = None
    ) -> Request:
        body = hold_body(*choices, adults=adults)
        return Request("hold", "POST", "/v1/holds", body, key or self.scene.new_key())

    def book_request(self, held: Json, *, key: str | None = None) -> Request:
        body = booking_body(held)
        return Request(
            "book", "POST", "/v1/bookings", body, key or self.scene.new_key(), held["id"]
        )

    def release_request(self, hold_id: str) -> Request:
        return Request("release", "DELETE", f"/v1/holds/{hold_id}", subject=hold_id)

    def extend_request(self, hold_id: str) -> Request:
        path = f"/v1/holds/{hold_id}/extend"
        return Request("extend", "POST", path, key=self.scene.new_key(), subject=hold_id)

    def cancel_request(self, booking_id: str, *, key: str | None = None) -> Request:
        path = f"/v1/bookings/{booking_id}/cancel"
        return Request("cancel", "POST", path, key=key or self.scene.new_key(), subject=booking_id)

    async def settle(self, request: Request) -> Operation:
        """Repeat the request with the same key until it is answered; mostly at the preferred process."""
        operation = await self.ask(request)
        while not _is_settled(operation) and not self.scene.is_closed:
            away = operation.outcome == UNKNOWN  # and perhaps not even started yet
            await asyncio.sleep(
                self.chance.uniform(0.2, 0.8) if away else self.chance.uniform(0.02, 0.3)
            )
            elsewhere = self.chance.random() < 0.4
            operation = await self.ask(request, process=self.home + elsewhere)
        return operation

    async def concurrently(self, requests: list[Request]) -> list[Operation]:
        """Send several deliveries concurrently, over all processes; then settle each."""

        async def one(place: int, request: Request) -> Operation:
            first = await self.ask(request, process=self.home + place)
            return first if _is_settled(first) else await self.settle(request)

        return await asyncio.gather(*(one(n, request) for n, request in enumerate(requests)))

    async def ask(self, request: Request, *, process: int | None = None) -> Operation:
        """One delivery."""
        await self.scene.limiter.wait()
        apis = self.scene.stack.apis
        api = apis[(self.home if process is None else process) % len(apis)]
        number = self.scene.next_operation()
        request_id = f"{self.scene.label}-{number}"
        headers = {"Authorization": f"Bearer {api.tokens[self.tenant]}", "X-Request-Id": request_id}
        if request.key is not None:
            headers["Idempotency-Key"] = request.key
        invoked_at = time.monotonic()
        try:
            reply = await api.wire.call(
                request.method,
                request.path + request.query,
                headers,
                request.body,
                timeout=self._patience(),
            )
        except Lost:
            reply = None
        operation = self._operation(number, request, api, request_id, invoked_at, reply)
        self.scene.history.append(operation)
        return operation

    def _patience(self) -> float:
        if self.chance.random() < self.scene.hangs_up:
            return self.chance.choice((0.001, 0.003, 0.006, 0.01, 0.02, 0.05))
        return PATIENCE_SECONDS

    def _operation(
        self,
        number: int,
        request: Request,
        api: ApiProcess,
        request_id: str,
        invoked_at: float,
        reply: Reply | None,
    ) -> Operation:
        answer = None if reply is None else reply.json()
        refused = reply is not None and reply.status >= 400
        received = {} if reply is None else reply.headers
        return Operation(
            number=number,
            client=self.name,
            process=api.called,
            kind=request.kind,
            tenant=self.tenant,
            key=request.key,
            subject=request.subject,
            request=request.body or ({"query": request.query} if request.query else {}),
            request_id=request_id,
            invoked_at=invoked_at,
            completed_at=None if reply is None else time.monotonic(),
            outcome=UNKNOWN if reply is None else REFUSED if refused else OK,
            status=None if reply is None else reply.status,
            code=str(answer.get("code")) if refused and answer is not None else None,
            answer=answer,
            headers={name: received[name] for name in _KEPT_HEADERS if name in received},
        )


def _is_settled(operation: Operation) -> bool:
    """Whether the client knows what became of its request."""
    if operation.outcome == UNKNOWN or operation.status in (429, 503):
        return False
    return operation.code != _IN_FLIGHT


async def run_clients(
    scene: Scene, work: Callable[[Client], Awaitable[None]], clients: int
) -> None:
    """Run the work with so many clients of both partners, repeatedly until the episode ends."""

    async def go_on(client: Client) -> None:
        while scene.is_on:
            await work(client)

    crowd = [scene.client("rival" if n % 3 == 2 else "demo") for n in range(clients)]
    await asyncio.gather(*(go_on(client) for client in crowd))


def answered(operation: Operation) -> dict[str, Any] | None:
    """The answer, if the request succeeded."""
    return operation.answer if operation.outcome == OK else None
