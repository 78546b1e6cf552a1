"""The model checker: proves in small worlds that no order of steps breaks a promise to a client.

    python -m tests.model                          everything below, in a few minutes
    python -m tests.model WORLD ... [SWITCH ...]   only these worlds; prints the shortest failing run
    python -m tests.model --list                   lists the worlds and the switches

SWITCH sets a switch on, -SWITCH sets it off: `python -m tests.model confirm -token_raise`.

A run without arguments proves, in this order:

1. The protocol as the code has it holds in every world, for every order of steps.
2. Each rule is needed: without it a search finds a failure, and prints the shortest one.
3. Each choice is free: the protocol also holds the other way.
4. Each known mistake is caught.
5. Row locks cannot deadlock, and the relay publishes every event in order.
6. Random walks through two worlds that are too large for a full search find no failure.

The exit status is 0 if everything is as expected, 1 if not, 2 for an unknown name.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from time import process_time

from tests.model import locks, relay, shown
from tests.model.configurations import CONFIGURATIONS, EVERYTHING, LARGE
from tests.model.flags import ABOUT, Flags, names
from tests.model.search import Found, explore, walk

WALK_SECONDS = 5.0
STATES_TO_FAIL_MAX = 300_000  # within so many states a planted failure must be found


@dataclass(slots=True)
class Tally:
    unexpected: int = 0
    states: int = 0
    steps: int = 0

    def add(self, found: Found, *, good: bool) -> str:
        self.states += found.states
        self.steps += found.steps
        return self.judge(good=good)

    def judge(self, *, good: bool) -> str:
        self.unexpected += not good
        return "" if good else "  !!! UNEXPECTED"


def main(arguments: Sequence[str]) -> int:
    if arguments == ["--list"] or "--help" in arguments:
        return _list()
    if arguments:
        return _single(arguments)
    begun, tally = process_time(), Tally()
    for title, part in _PARTS:
        write_line(f"\n{title}")
        for line in part(tally):
            write_line(line)
    verdict = f"{tally.unexpected} UNEXPECTED" if tally.unexpected else "ALL AS EXPECTED"
    seconds = process_time() - begun
    write_line(
        f"\n{verdict}: {tally.states:,} states, {tally.steps:,} steps, {seconds:.0f} s of one core"
    )
    return int(tally.unexpected > 0)


def write_line(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _list() -> int:
    write_line(__doc__ or "")
    for name, configuration in CONFIGURATIONS.items():
        write_line(f"  {name:14} {configuration.about}")
    for kind in ("rule", "choice", "mistake"):
        write_line(f"\n{kind}s")
        for name in names(kind):
            write_line(f"  {name:22} {ABOUT[name]}")
    return 0


def _single(arguments: Sequence[str]) -> int:
    wanted = [name for name in arguments if name in CONFIGURATIONS] or list(CONFIGURATIONS)
    switched = {
        name.removeprefix("-"): not name.startswith("-")
        for name in arguments
        if name not in CONFIGURATIONS
    }
    unknown = sorted(set(switched) - set(ABOUT))
    if unknown:
        write_line(f"Unknown name: {', '.join(unknown)}. --list shows the worlds and switches.")
        return 2
    failed = False
    for name in wanted:
        found = explore(CONFIGURATIONS[name], replace(Flags(), **switched))
        write_line(f"{name:14} {_summary(found)}")
        for line in _trace(found):
            write_line(line)
        failed = failed or found.violation is not None or not found.is_whole
    return int(failed)


def _as_built(tally: Tally) -> Iterator[str]:
    for name, configuration in CONFIGURATIONS.items():
        found = explore(configuration)
        note = tally.add(found, good=found.violation is None and found.is_whole)
        yield f"  {name:14} {_summary(found)}{note}   {configuration.about}"
        yield from _trace(found)
    yield f"  in total {tally.states:,} states, {tally.steps:,} steps"


def _without_rules(tally: Tally) -> Iterator[str]:
    for name, (where, wanted) in shown.RULES.items():
        found = _explore_with(where, wanted, {name: False})
        note = tally.add(found, good=found.violation is not None)
        yield f"  -{name} [{where}] {ABOUT[name]}{note}"
        yield from _trace(found)


def _other_choices(tally: Tally) -> Iterator[str]:
    for name, where in shown.CHOICES.items():
        other = {name: not getattr(Flags(), name)}
        states, violations = 0, []
        for each in where:
            found = explore(CONFIGURATIONS[each], replace(Flags(), **other))
            note = tally.add(found, good=found.violation is None and found.is_whole)
            states += found.states
            violations += [f"{each}: {_summary(found)}{note}"] if note else []
        sign = "" if other[name] else "-"
        verdict = "; ".join(violations) or "also holds"
        yield f"  {sign}{name:22} {states:8,} states  {verdict}   {', '.join(where)}"


def _mistakes(tally: Tally) -> Iterator[str]:
    for name, (where, wanted) in shown.MISTAKES.items():
        switched = {name: True} | shown.WITH_SWITCHES.get(name, {})
        found = _explore_with(where, wanted, switched)
        note = tally.add(found, good=found.violation is not None)
        verdict = f"caught after {len(found.trace):2} steps" if found.violation else "NOT CAUGHT"
        yield f"  {name:22} {verdict} [{where}] {found.violation}{note}"


def _explore_with(where: str, wanted: Sequence[str], switched: dict[str, bool]) -> Found:
    """Explore with promises measured in true time, so that what is found could really happen."""
    flags = replace(Flags(), **switched)
    return explore(
        CONFIGURATIONS[where], flags, strict=False, states_max=STATES_TO_FAIL_MAX, wanted=wanted
    )


def _locks_and_relay(tally: Tally) -> Iterator[str]:
    found, states = locks.deadlock()
    note = tally.judge(good=found is None)
    count = len(locks.TRANSACTIONS)
    yield f"  locks, any three of {count} transactions: {found or 'no deadlock'}, {states:,} states{note}"
    for mistake in locks.MISTAKES:
        found, _ = locks.deadlock(mistake)
        yield f"    {mistake}: {found or 'NOT CAUGHT'}{tally.judge(good=found is not None)}"
    for gate in (False, True):
        starves = locks.starvation(gate=gate)
        name = "behind the gate" if gate else "without the gate"
        verdict = "can starve" if starves else "cannot starve"
        yield f"  the end of an epoch {name} {verdict}{tally.judge(good=starves is not gate)}"
    found, states = relay.failure()
    yield f"  relay: {found or 'no failure'}, {states:,} states{tally.judge(good=found is None)}"
    for mistake in relay.MISTAKES:
        found, _ = relay.failure(mistake)
        yield f"    {mistake}: {found or 'NOT CAUGHT'}{tally.judge(good=found is not None)}"


def _walks(tally: Tally) -> Iterator[str]:
    for seed, configuration in enumerate((EVERYTHING, LARGE), 1):
        found = walk(configuration, WALK_SECONDS, seed)
        note = tally.judge(good=found.violation is None)
        yield (
            f"  seed {seed}: {found.steps:,} walks, {found.states:,} states:"
            f" {found.violation or 'no violation'}{note}   {configuration.about}"
        )
        yield from _trace(found)


def _summary(found: Found) -> str:
    verdict = found.violation or (
        "holds" if found.is_whole else "STOPPED before every state was seen"
    )
    return f"{found.states:8,} states {found.steps:9,} steps {found.seconds:5.1f} s  {verdict}"


def _trace(found: Found) -> Iterator[str]:
    for number, label in enumerate(found.trace, 1):
        yield f"      {number:2}. {label}"
    if found.violation:
        yield f"       => {found.violation}"


_PARTS: tuple[tuple[str, Callable[[Tally], Iterator[str]]], ...] = (
    ("1. The protocol as built, in every order of steps", _as_built),
    ("2. Without each rule: the shortest failing run", _without_rules),
    ("3. With each choice made the other way", _other_choices),
    ("4. With each mistake planted", _mistakes),
    ("5. Row locks and the relay", _locks_and_relay),
    ("6. Random walks through larger worlds", _walks),
)

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
