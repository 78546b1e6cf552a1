"""What a row is, what it says, and what it is given to measure with."""

import itertools
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.arithmetic import (
    GENERATOR_BUSY,
    Arm,
    Measured,
    Ratio,
    Reach,
    Rounds,
    interleaved,
    middle,
    statuses_of,
)
from benchmarks.generator import Cpu, Generator
from benchmarks.load import Outcome, Plan
from benchmarks.stage import Running, Servers

Pair = tuple[str, str]
CLIENTS = 64
PATIENCE_SECONDS = 120.0  # with a fixed number of requests


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table. `figure` is what the reach is held against: mostly a ratio."""

    row: str
    figure: Ratio
    reach: Reach | None = None
    unit: str = "×"
    here: str = ""
    cpu: str = ""
    notes: Sequence[str] = ()
    series: Mapping[str, float] = field(default_factory=dict)  # for the plots: where → figure

    @property
    def verdict(self) -> str:
        return "reported" if self.reach is None else self.reach.verdict(self.figure.median)


@dataclass(frozen=True, slots=True)
class Bench:
    """Of one run."""

    servers: Servers
    generator: Generator
    folder: Path
    rounds: int
    seconds: float
    scale: float  # of the populations; 1 as described
    say: Callable[[str], None]
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def requests(self, pairs: Sequence[Pair]) -> str:
        """The file in which the load generator finds them."""
        path = self.folder / f"requests-{next(self.numbers)}.json"
        path.write_text(json.dumps(pairs), encoding="ascii")
        return str(path)

    def scaled(self, count: int) -> int:
        return max(200, int(count * self.scale))

    async def load(self, plan: Plan, cpu: Cpu) -> tuple[Measured, Outcome]:
        return await self.generator.run(plan, cpu)

    def arm(
        self,
        to: Running,
        requests: str,
        cpu: Cpu,
        *,
        clients: int = CLIENTS,
        count: int | None = None,
        release: str | None = None,
        expected: int | None = None,
    ) -> Arm:
        """A closed loop of so many clients; `count` requests instead of seconds."""

        async def measure(seconds: float) -> Measured:
            plan = Plan(
                to.port,
                requests,
                clients,
                seconds=seconds if count is None else PATIENCE_SECONDS,
                count=count,
                release=release,
                expected=expected,
            )
            measured, _ = await self.load(plan, cpu)
            return measured

        return measure

    async def compare(self, ours: Arm, base: Arm) -> Rounds:
        return await interleaved(ours, base, self.rounds, self.seconds)


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    told: str
    run: Callable[[Bench], Awaitable[list[Line]]]


def compared(
    row: str,
    rounds: Rounds,
    reach: Reach | None,
    *,
    against: str,
    what: str = "/s",
    notes: Sequence[str] = (),
) -> Line:
    """A line that compares rates."""
    ours, base = rounds.ours, rounds.base
    return Line(
        row,
        rounds.ratio(lambda one: one.rate),
        reach,
        here=(
            f"{middle(ours, lambda one: one.rate):,.0f}{what} of {against}'s "
            f"{middle(base, lambda one: one.rate):,.0f}{_times(ours)}"
        ),
        cpu=cpu_text(ours, base),
        notes=(*notes, *warnings(ours, "ours"), *warnings(base, against)),
    )


def _times(rounds: Sequence[Measured]) -> str:
    p50, p99 = middle(rounds, lambda one: one.p50_ms), middle(rounds, lambda one: one.p99_ms)
    return f"; p50 {p50:.1f}, p99 {p99:.1f} ms" if p99 else ""


def cpu_text(ours: Sequence[Measured], base: Sequence[Measured] = ()) -> str:
    """Milliseconds for one operation: all, by part, and the baseline's."""
    parts = {
        name: middle(ours, lambda one, n=name: 1000 * one.cpu[n] / max(1, one.operations))  # type: ignore[misc]
        for name in (ours[0].cpu if ours else ())
    }
    told = " + ".join(f"{name} {ms:.2f}" for name, ms in parts.items() if ms >= 0.005)
    text = f"{middle(ours, lambda one: one.cpu_ms):.2f} ({told})"
    return text + (f" : {middle(base, lambda one: one.cpu_ms):.2f}" if base else "")


def warnings(rounds: Sequence[Measured], whose: str) -> list[str]:
    """What makes a figure doubtful."""
    told: list[str] = []
    busy = middle(rounds, lambda one: one.generator_busy)
    if busy >= GENERATOR_BUSY:
        told.append(f"the load generator was the bottleneck ({whose}: {busy:.0%} of a core)")
    statuses = statuses_of(rounds)
    if any(not status.startswith("2") for status in statuses):
        first = next((note for one in rounds for note in one.notes), "")
        told.append(f"{whose} answered {statuses}{_code_of(first)}")
    lost = sum(one.lost for one in rounds)
    if lost:
        told.append(f"{whose}: {lost} connections ended without an answer")
    return told


def _code_of(problem: str) -> str:
    """Of the first refusal, as the load generator kept it."""
    _, found, rest = problem.partition('"code":"')
    return f", first {rest.partition(chr(34))[0]}" if found else ""


def get(path: str, token: str) -> Pair:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n", ""


def post(path: str, token: str, body: Mapping[str, Any]) -> Pair:
    """With a fresh Idempotency-Key each time it is sent."""
    text = json.dumps(body, separators=(",", ":"))
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\nIdempotency-Key: "
    )
    return head, f"\r\n\r\n{text}"


def nothing_spent() -> Mapping[str, float]:
    return {}
