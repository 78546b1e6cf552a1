"""What is made of the rounds: medians, ratios, and whether a row reaches what it should.

The two arms of a row are measured in turn, A B A B, and each round gives one ratio; the row's is their
median. So whatever the machine does meanwhile, it does to both.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

GENERATOR_BUSY = 0.9  # of one core: from here on the load generator is what limits


@dataclass(frozen=True, slots=True)
class Measured:
    """One round of one arm. `cpu` is the seconds that each part of the process tree computed for."""

    operations: int
    seconds: float
    cpu: Mapping[str, float] = field(default_factory=dict)
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    max_ms: float = 0.0
    statuses: Mapping[str, int] = field(default_factory=dict)
    generator_busy: float = 0.0  # of one core
    lost: int = 0  # connections that ended without an answer
    notes: tuple[str, ...] = ()

    @property
    def rate(self) -> float:
        """Operations a second."""
        return self.operations / self.seconds if self.seconds else 0.0

    @property
    def cpu_ms(self) -> float:
        """Of the whole process tree, for one operation."""
        return 1000 * sum(self.cpu.values()) / self.operations if self.operations else 0.0


@dataclass(frozen=True, slots=True)
class Rounds:
    """`ours[i]` and `base[i]` were measured one right after the other."""

    ours: tuple[Measured, ...]
    base: tuple[Measured, ...]

    def ratio(self, of: Callable[[Measured], float]) -> "Ratio":
        return Ratio.of([of(a) / of(b) for a, b in zip(self.ours, self.base, strict=True) if of(b)])


@dataclass(frozen=True, slots=True)
class Ratio:
    """The median of the rounds, and how far they lie apart."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, ratios: Sequence[float]) -> "Ratio":
        if not ratios:
            return cls(0.0, 0.0, 0.0)
        return cls(median(ratios), min(ratios), max(ratios))


@dataclass(frozen=True, slots=True)
class Reach:
    """What a figure should come to."""

    bound: float
    is_least: bool  # or the most
    unit: str = "×"

    @property
    def text(self) -> str:
        return f"{'≥' if self.is_least else '≤'} {self.bound:g} {self.unit}"

    def verdict(self, figure: float) -> str:
        if self.is_least:
            return "met" if figure >= self.bound else f"short by {1 - figure / self.bound:.0%}"
        return "met" if figure <= self.bound else f"over by {figure / self.bound - 1:.0%}"


def at_least(bound: float, unit: str = "×") -> Reach:
    return Reach(bound, True, unit)


def at_most(bound: float, unit: str = "×") -> Reach:
    return Reach(bound, False, unit)


Arm = Callable[[float], Awaitable[Measured]]
"""Measures for about so many seconds."""


async def interleaved(ours: Arm, base: Arm, rounds: int, seconds: float) -> Rounds:
    """A B A B; a first, shorter pair warms both up and is not counted."""
    await ours(seconds / 3)
    await base(seconds / 3)
    a: list[Measured] = []
    b: list[Measured] = []
    for _ in range(rounds):
        a.append(await ours(seconds))
        b.append(await base(seconds))
    return Rounds(tuple(a), tuple(b))


def middle(rounds: Sequence[Measured], of: Callable[[Measured], float]) -> float:
    return median(of(one) for one in rounds) if rounds else 0.0


def statuses_of(rounds: Sequence[Measured]) -> dict[str, int]:
    """Added up."""
    total: dict[str, int] = {}
    for one in rounds:
        for status, count in one.statuses.items():
            total[status] = total.get(status, 0) + count
    return total


def percentile(ordered: Sequence[float], share: float) -> float:
    """Of values in order; 0 where there are none."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0
