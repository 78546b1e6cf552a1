"""`python -m tests.model`: explore the protocol as it is built, and show that the model can fail.

Without arguments all six parts are run, in a few minutes. `NAME … [SWITCH|-SWITCH …]` explores single
configurations with switches turned, and tells the shortest way to what is found; `--list` names both.
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
SHOWN_MAX = 300_000  # states in which a difference must be found


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
        say(f"\n{title}")
        for line in part(tally):
            say(line)
    verdict = f"{tally.unexpected} UNEXPECTED" if tally.unexpected else "ALL AS EXPECTED"
    seconds = process_time() - begun
    say(f"\n{verdict}: {tally.states:,} states, {tally.steps:,} steps, {seconds:.0f} s of one core")
    return int(tally.unexpected > 0)


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _list() -> int:
    say(__doc__ or "")
    for name, configuration in CONFIGURATIONS.items():
        say(f"  {name:14} {configuration.about}")
    for kind in ("rule", "choice", "mistake"):
        say(f"\n{kind}s")
        for name in names(kind):
            say(f"  {name:22} {ABOUT[name]}")
    return 0


def _single(arguments: Sequence[str]) -> int:
    wanted = [name for name in arguments if name in CONFIGURATIONS] or list(CONFIGURATIONS)
    turned = {
        name.removeprefix("-"): not name.startswith("-")
        for name in arguments
        if name not in CONFIGURATIONS
    }
    unknown = sorted(set(turned) - set(ABOUT))
    if unknown:
        say(f"neither a configuration nor a switch: {', '.join(unknown)}; --list names them")
        return 2
    failed = False
    for name in wanted:
        found = explore(CONFIGURATIONS[name], replace(Flags(), **turned))
        say(f"{name:14} {_told(found)}")
        for line in _trace(found):
            say(line)
        failed = failed or found.violation is not None or not found.is_whole
    return int(failed)


def _as_built(tally: Tally) -> Iterator[str]:
    for name, configuration in CONFIGURATIONS.items():
        found = explore(configuration)
        note = tally.add(found, good=found.violation is None and found.is_whole)
        yield f"  {name:14} {_told(found)}{note}   {configuration.about}"
        yield from _trace(found)
    yield f"  together {tally.states:,} states, {tally.steps:,} steps"


def _without_rules(tally: Tally) -> Iterator[str]:
    for name, (where, wanted) in shown.RULES.items():
        found = _turned(where, wanted, {name: False})
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
            violations += [f"{each}: {_told(found)}{note}"] if note else []
        sign = "" if other[name] else "-"
        verdict = "; ".join(violations) or "holds as well"
        yield f"  {sign}{name:22} {states:8,} states  {verdict}   {', '.join(where)}"


def _mistakes(tally: Tally) -> Iterator[str]:
    for name, (where, wanted) in shown.MISTAKES.items():
        turned = {name: True} | shown.ALSO.get(name, {})
        found = _turned(where, wanted, turned)
        note = tally.add(found, good=found.violation is not None)
        verdict = f"caught after {len(found.trace):2} steps" if found.violation else "NOT CAUGHT"
        yield f"  {name:22} {verdict} [{where}] {found.violation}{note}"


def _turned(where: str, wanted: Sequence[str], turned: dict[str, bool]) -> Found:
    """With true time as the judge, so that what is found could have happened so."""
    flags = replace(Flags(), **turned)
    return explore(CONFIGURATIONS[where], flags, strict=False, states_max=SHOWN_MAX, wanted=wanted)


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
        verdict = "can be kept out for ever" if starves else "comes through"
        yield f"  the bump {name} {verdict}{tally.judge(good=starves is not gate)}"
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


def _told(found: Found) -> str:
    verdict = found.violation or ("holds" if found.is_whole else "CUT, not every state was seen")
    return f"{found.states:8,} states {found.steps:9,} steps {found.seconds:5.1f} s  {verdict}"


def _trace(found: Found) -> Iterator[str]:
    for number, label in enumerate(found.trace, 1):
        yield f"      {number:2}. {label}"
    if found.violation:
        yield f"       => {found.violation}"


_PARTS: tuple[tuple[str, Callable[[Tally], Iterator[str]]], ...] = (
    ("1. The protocol as built: every order of steps", _as_built),
    ("2. Each rule left out: the shortest way to what it prevents", _without_rules),
    ("3. Each choice made the other way", _other_choices),
    ("4. Each mistake planted", _mistakes),
    ("5. Row locks and the relay", _locks_and_relay),
    ("6. Larger worlds, by chance", _walks),
)

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
