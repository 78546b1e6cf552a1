"""`python -m tests.mutants [NAME…]`: plants each mutant and tells who caught it; 1 if one got away."""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tests.mutants.catalogue import MUTANTS, Mutant
from tests.mutants.catchers import Catcher, FaultHarness, Finding, NamedTests, Simulator, Verdict
from tests.mutants.planting import DoesNotApply, copy_of_the_tree, plant

CATCHERS: tuple[Catcher, ...] = (NamedTests(), Simulator(), FaultHarness())  # from the cheapest


def main() -> int:
    asked = _arguments()
    catchers = [catcher for catcher in CATCHERS if catcher.name in asked.catchers]
    mutants = [mutant for mutant in MUTANTS if not asked.names or mutant.name in asked.names]
    quiet = _Quiet()
    if NamedTests.name in asked.catchers and not quiet.is_so(CATCHERS[0], mutants):
        return 1
    caught = 0
    print(f"\n{'mutant':35} {'caught by':9} seconds  what")
    for mutant in mutants:
        findings = _hunt(mutant, catchers, quiet, is_thorough=asked.all_catchers)
        for catcher, finding in findings:
            _print(mutant, catcher, finding)
        caught += any(finding.verdict is Verdict.CAUGHT for _, finding in findings)
    print(f"\n{caught} of {len(mutants)} mutants caught")
    return 0 if caught == len(mutants) else 1


class _Quiet:
    """Which catchers find nothing in the tree as it is: one that does would catch anything."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], bool] = {}

    def is_so(self, catcher: Catcher, mutants: Sequence[Mutant]) -> bool:
        """Of what the catcher does to find these; asked once for all that are found alike."""
        asked = {catcher.asks(mutant): mutant for mutant in mutants}
        asked = {how: one for how, one in asked.items() if (catcher.name, how) not in self._known}
        if asked:
            with copy_of_the_tree() as folder:
                _demand_own_code(folder)
                finding = catcher.is_quiet(folder, list(asked.values()))
            is_quiet = finding.verdict is Verdict.PASSED
            self._known |= {(catcher.name, how): is_quiet for how in asked}
            told = "nothing" if is_quiet else finding.what
            print(
                f"without a mutant {catcher.name} find {told} ({finding.seconds:.0f} s)", flush=True
            )
        return all(self._known[catcher.name, catcher.asks(mutant)] for mutant in mutants)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    names = [mutant.name for mutant in MUTANTS]
    parser.add_argument("names", nargs="*", metavar="NAME", help="of these only; all without")
    parser.add_argument(
        "--catchers",
        nargs="+",
        choices=[catcher.name for catcher in CATCHERS],
        default=[catcher.name for catcher in CATCHERS],
        help="asked in this order, the cheapest first",
    )
    parser.add_argument(
        "--all-catchers", action="store_true", help="go on when one catcher has caught it"
    )
    parser.add_argument("--list", action="store_true", help="what each mutant breaks, and end")
    asked = parser.parse_args()
    unknown = set(asked.names) - set(names)
    if unknown:
        parser.error(f"no such mutant: {', '.join(sorted(unknown))}")
    if asked.list:
        for mutant in MUTANTS:
            print(f"{mutant.name:35} {mutant.says}")
        raise SystemExit(0)
    return asked


def _hunt(
    mutant: Mutant, catchers: Sequence[Catcher], quiet: _Quiet, *, is_thorough: bool
) -> list[tuple[str, Finding]]:
    findings: list[tuple[str, Finding]] = []
    with copy_of_the_tree() as folder:
        try:
            plant(mutant.patch, folder)
        except DoesNotApply as error:
            return [("planting", Finding(Verdict.BROKEN, str(error), 0.0))]
        for catcher in catchers:
            finding = catcher.hunt(folder, mutant)
            if finding.verdict is Verdict.CAUGHT and not quiet.is_so(catcher, [mutant]):
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


def _demand_own_code(folder: Path) -> None:
    """What is installed in this interpreter must not stand in for the copy."""
    told = subprocess.run(
        [sys.executable, "-c", "import app; print(app.__file__)"],
        cwd=folder,
        env={"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(told.stdout.strip()).is_relative_to(folder), told.stdout


if __name__ == "__main__":
    sys.exit(main())
