"""Mutation testing: proves that the tests notice when a rule of the protocol is broken.

A mutant is a patch that breaks one rule, for example "no state in the WHERE of a booking". Each is
planted in a copy of the tree, then the catchers run, the cheapest first: the tests named for it, the
simulator, the fault harness. A line for each mutant says which one caught it. The exit status is 0 if
every mutant was caught.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tests.mutants.catalogue import MUTANTS, Mutant
from tests.mutants.catchers import Catcher, FaultHarness, Finding, NamedTests, Simulator, Verdict
from tests.mutants.planting import DoesNotApply, copy_of_tree, plant

CATCHERS: tuple[Catcher, ...] = (NamedTests(), Simulator(), FaultHarness())  # from the cheapest


def main() -> int:
    asked = _arguments()
    catchers = [catcher for catcher in CATCHERS if catcher.name in asked.catchers]
    mutants = [mutant for mutant in MUTANTS if not asked.names or mutant.name in asked.names]
    baseline = _Baseline()
    if NamedTests.name in asked.catchers and not baseline.is_clean(CATCHERS[0], mutants):
        return 1
    caught = 0
    print(f"\n{'mutant':35} {'caught by':9} seconds  what")
    for mutant in mutants:
        findings = _hunt(mutant, catchers, baseline, is_thorough=asked.all_catchers)
        for catcher, finding in findings:
            _print(mutant, catcher, finding)
        caught += any(finding.verdict is Verdict.CAUGHT for _, finding in findings)
    print(f"\n{caught} of {len(mutants)} mutants caught")
    return 0 if caught == len(mutants) else 1


class _Baseline:
    """Which catchers find nothing in the unchanged tree; one that does would "catch" every mutant."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], bool] = {}

    def is_clean(self, catcher: Catcher, mutants: Sequence[Mutant]) -> bool:
        """Whether the catcher's way to find these mutants finds nothing; each way is run once."""
        asked = {catcher.method_of(mutant): mutant for mutant in mutants}
        asked = {how: one for how, one in asked.items() if (catcher.name, how) not in self._known}
        if asked:
            with copy_of_tree() as folder:
                _check_own_code(folder)
                finding = catcher.is_clean(folder, list(asked.values()))
            is_clean = finding.verdict is Verdict.PASSED
            self._known |= {(catcher.name, how): is_clean for how in asked}
            found = "nothing" if is_clean else finding.what
            print(
                f"without a mutant, {catcher.name}: found {found} ({finding.seconds:.0f} s)",
                flush=True,
            )
        return all(self._known[catcher.name, catcher.method_of(mutant)] for mutant in mutants)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutants",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [mutant.name for mutant in MUTANTS]
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="mutants to plant; all if none is named"
    )
    parser.add_argument(
        "--catchers",
        nargs="+",
        choices=[catcher.name for catcher in CATCHERS],
        default=[catcher.name for catcher in CATCHERS],
        help="catchers to run, in this order (default: all, the cheapest first)",
    )
    parser.add_argument(
        "--all-catchers", action="store_true", help="run all catchers even after one has caught it"
    )
    parser.add_argument(
        "--list", action="store_true", help="print what each mutant breaks, and exit"
    )
    asked = parser.parse_args()
    unknown = set(asked.names) - set(names)
    if unknown:
        parser.error(f"no such mutant: {', '.join(sorted(unknown))}")
    if asked.list:
        for mutant in MUTANTS:
            print(f"{mutant.name:35} {mutant.description}")
        raise SystemExit(0)
    return asked


def _hunt(
    mutant: Mutant, catchers: Sequence[Catcher], baseline: _Baseline, *, is_thorough: bool
) -> list[tuple[str, Finding]]:
    findings: list[tuple[str, Finding]] = []
    with copy_of_tree() as folder:
        try:
            plant(mutant.patch, folder)
        except DoesNotApply as error:
            return [("planting", Finding(Verdict.BROKEN, str(error), 0.0))]
        for catcher in catchers:
            finding = catcher.hunt(folder, mutant)
            if finding.verdict is Verdict.CAUGHT and not baseline.is_clean(catcher, [mutant]):
                finding = replace(finding, verdict=Verdict.BROKEN)
            findings.append((catcher.name, finding))
            if finding.verdict is Verdict.CAUGHT and not is_thorough:
                break
    return findings


def _print(mutant: Mutant, catcher: str, finding: Finding) -> None:
    what = {
        Verdict.CAUGHT: finding.what,
        Verdict.PASSED: f"– {finding.what}",
        Verdict.BROKEN: f"– broken: {finding.what}",
    }[finding.verdict]
    print(f"{mutant.name:35} {catcher:9} {finding.seconds:7.1f}  {what}", flush=True)


def _check_own_code(folder: Path) -> None:
    """Check that the copy's app is imported, not one installed in this interpreter."""
    imported = subprocess.run(
        [sys.executable, "-c", "import app; print(app.__file__)"],
        cwd=folder,
        env={"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(imported.stdout.strip()).is_relative_to(folder), imported.stdout


if __name__ == "__main__":
    sys.exit(main())
