"""The input and output of the checker: the terms of a run, and a violation with its explanation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.faults.history import Operation

Layout = Mapping[str, Mapping[str, Sequence[tuple[str, int]]]]
"""By flight and cabin: booking classes in nesting order, each with its first limit."""

REPORTED_MAX: Final = 10  # violations of one invariant and kind; more would only repeat them


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken invariant. `operations`: the few that show it, in the order of their invocation."""

    invariant: str  # I1 … I12
    sentence: str
    operations: tuple[Operation, ...] = ()

    def __str__(self) -> str:
        shown = "".join(f"\n    {operation.summary()}" for operation in self.operations)
        return f"{self.invariant}: {self.sentence}{shown}"


@dataclass(frozen=True, slots=True)
class Terms:
    """What the runner knows and no client sees. All times are seconds of the runner's clock.

    Between faults the checker is stricter than during one: `faults` are the windows in which something was
    broken, and for `repair_seconds` after each of them the repair jobs may still be at work.
    """

    flights: Layout = field(
        default_factory=dict
    )  # as first put on sale; missing ones are read from the dump
    only_these_flights: bool = (
        False  # the stores are older than the run: judge only data about `flights`
    )
    hold_ttl_seconds: float = 600.0
    deadline_seconds: float = (
        12.0  # of an answer while nothing is broken, with slack for the client itself
    )
    faults: Sequence[tuple[float, float]] = ()
    repair_seconds: float = 20.0
    clocks_moved: bool = False  # the hold store's clock was changed against the runner's
    clock_tolerance_seconds: float = 0.5  # in comparisons of these two clocks
    settled_at: float | None = None  # from then on all faults were healed and all repairs done
    shared_readers: frozenset[str] = frozenset({"ops"})  # tenants that see facts of no tenant


class Findings:
    """Collects violations; a limited number of each invariant and kind."""

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
