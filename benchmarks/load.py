"""The load generator, a process of its own: `python -m benchmarks.load`, told by lines of JSON.

One line in is one `Plan`. Three lines come out: `begun` when the window opens, the result when it
closes, `quiet` when the last answer is there. Connections are raw; requests are bytes that were
prepared beforehand, into which only a fresh Idempotency-Key is put. In the closed loop each connection
sends its next request when it has the answer to the last; in the open one requests leave at a fixed
rate, whatever comes back, and those that find no free connection are counted as unsent.
"""

import asyncio
import gc
import itertools
import json
import secrets
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.answers import Answer, Answers, BadAnswer
from benchmarks.arithmetic import percentile

DRAIN_SECONDS = 12.0
TICK_SECONDS = 0.002
SAMPLES_MAX = 2
Prepared = tuple[bytes, bytes]
"""What stands before and after the Idempotency-Key; without a second part there is none."""


@dataclass(frozen=True, slots=True)
class Plan:
    port: int
    requests: str  # a file of pairs, see `prepared`
    connections: int
    seconds: float = 3.0
    warm_seconds: float = 0.3
    count: int | None = None  # so many requests, if `seconds` are enough for them
    rate: float | None = None  # a second: the open loop
    offset: int | None = None  # each request once, from this one on
    release: str | None = None  # the token with which each hold is given back at once
    expected: int | None = None  # the one status that counts; any below 400 where none is named


@dataclass(frozen=True, slots=True)
class Outcome:
    operations: int  # that were answered as expected
    seconds: float
    cpu_seconds: float  # of the load generator
    statuses: dict[str, int]
    p50_ms: float
    p99_ms: float
    max_ms: float
    refused_p99_ms: float
    told_when: int  # refusals that name a Retry-After
    unsent: int
    lost: int
    used: int  # where the next plan's `offset` begins
    samples: list[str]  # bodies of the first refusals


class _Crowd:
    """What the connections of one plan share."""

    def __init__(self, plan: Plan, loop: asyncio.AbstractEventLoop) -> None:
        self.plan = plan
        self.exhausted = loop.create_future()
        self.is_over = False
        self.statuses: Counter[str] = Counter()
        self.good: list[float] = []
        self.refused: list[float] = []
        self.told_when = self.operations = self.unsent = self.lost = 0
        self.samples: list[str] = []
        self.idle: deque[_Connection] = deque()
        self.open = 0
        self.busy = 0  # connections that wait for an answer
        self.gone = asyncio.Event()
        self._rest: asyncio.Event | None = None
        self.counts = False
        self._requests = prepared(plan.requests)
        self._next = _indices(plan, len(self._requests))
        self.used = plan.offset or 0
        self._run = secrets.token_hex(6).encode()
        self._keys = itertools.count()
        self.release = f"Authorization: Bearer {plan.release}\r\n\r\n".encode()

    def next_request(self) -> bytes | None:
        """None: there is nothing more to send."""
        if self.is_over:
            return None
        at = next(self._next, None)
        if at is None:
            if not self.exhausted.done():
                self.exhausted.set_result(None)
            return None
        self.used = at + 1
        before, after = self._requests[at]
        if not after:
            return before
        return b"%s%s-%08d%s" % (before, self._run, next(self._keys), after)

    async def rest(self) -> None:
        """Until nobody waits for an answer."""
        if self.busy:
            self._rest = asyncio.Event()
            await self._rest.wait()

    def begin(self) -> None:
        self.busy += 1

    def end(self) -> None:
        self.busy -= 1
        if self._rest is not None and not self.busy:
            self._rest.set()

    def note(self, answer: Answer, seconds: float, *, completes: bool) -> None:
        if not self.counts or self.is_over:
            return
        self.statuses[str(answer.status)] += 1
        expected = self.plan.expected
        if answer.status == expected or (expected is None and answer.status < 400):
            self.good.append(seconds)
            self.operations += completes
            return
        self.refused.append(seconds)
        self.told_when += answer.header(b"retry-after") is not None
        if len(self.samples) < SAMPLES_MAX:
            self.samples.append(answer.body[:300].decode(errors="replace"))


class _Connection(asyncio.Protocol):
    __slots__ = ("_answers", "_crowd", "_sent_at", "_then", "_transport")

    def __init__(self, crowd: _Crowd) -> None:
        self._crowd = crowd
        self._answers = Answers()
        self._sent_at = 0.0
        self._then = False
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._crowd.open += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self._crowd.open -= 1
        if self._sent_at:
            self._crowd.lost += 1
            self._crowd.end()
        if not self._crowd.open:
            self._crowd.gone.set()

    @property
    def is_waiting(self) -> bool:
        """For an answer."""
        return self._sent_at > 0

    def send_next(self) -> None:
        request = self._crowd.next_request()
        if request is not None and not self._transport.is_closing():
            self._send(request)

    def close(self) -> None:
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        try:
            for answer in self._answers.feed(data):
                self._take(answer)
        except BadAnswer:
            self._transport.abort()

    def _send(self, request: bytes) -> None:
        self._crowd.begin()
        self._sent_at = time.perf_counter()
        self._transport.write(request)

    def _take(self, answer: Answer) -> None:
        crowd = self._crowd
        took = time.perf_counter() - self._sent_at
        self._sent_at = 0.0
        releases = crowd.plan.release is not None and answer.status == 201
        crowd.note(answer, took, completes=not releases)
        if releases:
            where = answer.header(b"location") or b"/"
            self._send(b"DELETE %s HTTP/1.1\r\nHost: localhost\r\n%s" % (where, crowd.release))
        elif crowd.plan.rate is not None:
            crowd.idle.append(self)
        else:
            self.send_next()
        crowd.end()  # after the next one began: between two requests nobody rests


async def run(plan: Plan) -> None:
    loop = asyncio.get_running_loop()
    crowd = _Crowd(plan, loop)
    connections = [
        (await loop.create_connection(lambda: _Connection(crowd), "127.0.0.1", plan.port))[1]
        for _ in range(plan.connections)
    ]
    if plan.rate is None and plan.count is None and plan.offset is None:
        for one in connections:
            one.send_next()
        await asyncio.sleep(plan.warm_seconds)
    crowd.counts = True
    _tell({"begun": True})
    started, cpu = time.perf_counter(), time.process_time()
    if plan.rate is not None:
        crowd.idle.extend(connections)
        await _send_at_rate(crowd, plan.rate, plan.seconds)
    else:
        for one in connections:
            if not one.is_waiting:  # the warm ones are at it already
                one.send_next()
        await _window(crowd, plan)
    seconds = time.perf_counter() - started
    crowd.is_over = True
    outcome = _outcome(crowd, seconds, time.process_time() - cpu)
    _tell(asdict(outcome))
    with suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            await crowd.rest()
    for one in connections:
        one.close()
    await crowd.gone.wait()
    _tell({"quiet": True})


async def _window(crowd: _Crowd, plan: Plan) -> None:
    """Until the time is over, or the requests are and their answers are there."""
    if plan.count is None and plan.offset is None:
        await asyncio.sleep(plan.seconds)
        return
    try:
        async with asyncio.timeout(plan.seconds):
            await crowd.exhausted
            await crowd.rest()  # what is under way still counts
    except TimeoutError:
        pass


async def _send_at_rate(crowd: _Crowd, rate: float, seconds: float) -> None:
    started = time.perf_counter()
    due = 0
    while (passed := time.perf_counter() - started) < seconds:
        wanted = int(passed * rate)
        while due < wanted:
            due += 1
            if crowd.idle:
                crowd.idle.popleft().send_next()
            else:
                crowd.unsent += 1
        await asyncio.sleep(TICK_SECONDS)


def _indices(plan: Plan, length: int) -> Iterator[int]:
    if plan.offset is not None:
        last = length if plan.count is None else min(length, plan.offset + plan.count)
        return iter(range(plan.offset, last))
    endless = itertools.cycle(range(length))
    return endless if plan.count is None else itertools.islice(endless, plan.count)


def _outcome(crowd: _Crowd, seconds: float, cpu_seconds: float) -> Outcome:
    good, refused = sorted(crowd.good), sorted(crowd.refused)
    told = good or refused
    return Outcome(
        operations=crowd.operations,
        seconds=seconds,
        cpu_seconds=cpu_seconds,
        statuses=dict(crowd.statuses),
        p50_ms=1000 * percentile(told, 0.5),
        p99_ms=1000 * percentile(told, 0.99),
        max_ms=1000 * (told[-1] if told else 0.0),
        refused_p99_ms=1000 * percentile(refused, 0.99),
        told_when=crowd.told_when,
        unsent=crowd.unsent,
        lost=crowd.lost,
        used=crowd.used,
        samples=crowd.samples,
    )


@cache
def prepared(path: str) -> Sequence[Prepared]:
    """Read once, however many plans use it."""
    pairs = json.loads(Path(path).read_text(encoding="ascii"))
    return [(before.encode(), after.encode()) for before, after in pairs]


def _tell(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Ends with its standard input."""
    gc.freeze()
    for line in sys.stdin:
        gc.collect()
        uvloop.run(run(Plan(**json.loads(line))))


if __name__ == "__main__":
    main()
