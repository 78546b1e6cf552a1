"""What a judgement is made of: the terms of a run, and a violation with its shortest explanation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.faults.history import Operation

Layout = Mapping[str, Mapping[str, Sequence[tuple[str, int]]]]
"""By flight and cabin: booking classes in nesting order, each with its first limit."""

REPORTED_MAX: Final = 10  # violations of one invariant: the first say what the rest would say


@dataclass(frozen=True, slots=True)
class Violation:
    """`operations` are the few that show it, in the order of their invocation."""

    invariant: str  # I1 … I12
    sentence: str
    operations: tuple[Operation, ...] = ()

    def __str__(self) -> str:
        told = "".join(f"\n    {operation.told()}" for operation in self.operations)
        return f"{self.invariant}: {self.sentence}{told}"


@dataclass(frozen=True, slots=True)
class Terms:
    """What the runner knows and no client saw. All times are seconds of the runner's clock.

    Between two faults the checker judges more strictly than during one: `faults` are the windows in
    which anything was broken, and for `repair_seconds` after each of them what was left behind may
    still be mended.
    """

    flights: Layout = field(
        default_factory=dict
    )  # as first put; what is missing is read in the dump
    only_these_flights: bool = (
        False  # the stores are older than the run: judge what is about `flights`
    )
    hold_ttl_seconds: float = 600.0
    deadline_seconds: float = (
        12.0  # of an answer while nothing is broken, with the client's own slack
    )
    faults: Sequence[tuple[float, float]] = ()
    repair_seconds: float = 20.0
    clocks_moved: bool = False  # the hold store's clock did not run with the runner's
    clock_tolerance_seconds: float = 0.5  # where those two clocks are compared
    settled_at: float | None = None  # from here on all faults were healed and all repairs done
    shared_readers: frozenset[str] = frozenset({"ops"})  # tenants that see facts of no tenant


class Findings:
    """Violations as they are found; of one invariant and kind no more than a reader can use."""

    def __init__(self) -> None:
        self._found: dict[str, list[Violation]] = {}
        self.counted: dict[str, int] = {}

    def add(self, invariant: str, sentence: str, *operations: Operation | None) -> None:
        self.counted[invariant] = self.counted.get(invariant, 0) + 1
        found = self._found.setdefault(invariant, [])
        if len(found) < REPORTED_MAX:
            named = {one.number: one for one in operations if one is not None}
            shown = sorted(named.values(), key=lambda one: (one.invoked_at, one.number))
            found.append(Violation(invariant, sentence, tuple(shown)))

    def violations(self) -> list[Violation]:
        order = sorted(self._found, key=lambda name: int(name.removeprefix("I")))
        return [violation for name in order for violation in self._found[name]]
