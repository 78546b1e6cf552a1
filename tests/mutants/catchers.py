"""Who may catch a mutant, and when that counts: only by the failure that it is asked for.

Every catcher runs as a process of this interpreter in the copy of the tree, within a bound of time.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from pathlib import Path
from typing import Final, Protocol
from xml.etree import ElementTree

from tests.mutants.catalogue import AS_PLANTED, ORDINARY, Mutant
from tests.mutants.planting import copy_of_the_tree

_MISTAKES: Final = (
    "ImportError",
    "ModuleNotFoundError",
    "NameError",
    "SyntaxError",
    "IndentationError",
)
"""A failure of these kinds says that the patch is no program, and nothing of what it breaks."""

_VIOLATION: Final = re.compile(r"^  (I\d+: .*)$", re.MULTILINE)
_SEED: Final = re.compile(r"^seed \d+: (?:I\d+|.*oversell_stopped).*$", re.MULTILINE)
"""A broken invariant, or the guard that had to stop it: any other fall says nothing."""


class Verdict(Enum):
    CAUGHT = auto()
    PASSED = auto()
    BROKEN = auto()  # failed for another reason: it says nothing


@dataclass(frozen=True, slots=True)
class Finding:
    verdict: Verdict
    what: str  # the test, the seed, the fault and workload; or what else went wrong
    seconds: float


class Catcher(Protocol):
    name: str

    def hunt(self, folder: Path, mutant: Mutant) -> Finding: ...

    def asks(self, mutant: Mutant) -> str:
        """How it looks for this one; the same for all that it looks for in the same way."""

    def is_quiet(self, folder: Path, mutants: Sequence[Mutant]) -> Finding:
        """PASSED iff it finds nothing in the tree as it is."""


class NamedTests:
    """The tests whose subject the mutant breaks; the ordinary way comes first and must still work."""

    name = "tests"
    seconds_max = 180.0

    def hunt(self, folder: Path, mutant: Mutant) -> Finding:
        code, seconds, failed, told = self._run(folder, [*ORDINARY, *mutant.tests], first_only=True)
        if code == 0:
            return Finding(Verdict.PASSED, "not caught", seconds)
        if code != 1 or failed is None:
            return Finding(Verdict.BROKEN, told, seconds)
        name, reason = failed
        if any(test.rpartition("::")[2] == name.partition("[")[0] for test in ORDINARY):
            return Finding(Verdict.BROKEN, f"the ordinary way is broken too: {name}", seconds)
        if reason.startswith(_MISTAKES):
            return Finding(Verdict.BROKEN, f"{name}: {reason}", seconds)
        return Finding(Verdict.CAUGHT, name, seconds)

    def asks(self, mutant: Mutant) -> str:
        return " ".join(mutant.tests)

    def is_quiet(self, folder: Path, mutants: Sequence[Mutant]) -> Finding:
        tests = dict.fromkeys(test for mutant in mutants for test in mutant.tests)
        code, seconds, failed, told = self._run(folder, [*ORDINARY, *tests], first_only=False)
        if code == 0:
            return Finding(Verdict.PASSED, "", seconds)
        return Finding(Verdict.BROKEN, " ".join(failed or [told]), seconds)

    def _run(
        self, folder: Path, tests: Sequence[str], *, first_only: bool
    ) -> tuple[int | None, float, tuple[str, str] | None, str]:
        report = folder / "report.xml"
        command = ["pytest", "-q", "-p", "no:cacheprovider", f"--junit-xml={report}"]
        command += ["-x"] if first_only else []
        code, seconds, told = _run(folder, [*command, *tests], self.seconds_max)
        return code, seconds, _first_failure(report) if code == 1 else None, told


class Simulator:
    """The shipped protocol under a seeded scheduler, one interleaving after the other.

    A seed that falls must stand without the mutant: what it plays is the same to the last step.
    """

    name = "simulator"
    seeds_max, seeds_at_once = 1000, 100
    seconds_max = 300.0

    def hunt(self, folder: Path, mutant: Mutant) -> Finding:
        if not mutant.simulated:
            return Finding(Verdict.PASSED, "not asked", 0.0)
        with copy_of_the_tree() as unchanged:
            if mutant.simulated == AS_PLANTED:
                return self._hunt(folder, [], unchanged)
            return self._hunt(unchanged, ["--mutant", mutant.simulated], unchanged)

    def asks(self, mutant: Mutant) -> str:
        return "the first seeds"

    def is_quiet(self, folder: Path, mutants: Sequence[Mutant]) -> Finding:
        return self._play(folder, ["--seeds", str(self.seeds_at_once)])

    def _hunt(self, folder: Path, options: Sequence[str], unchanged: Path) -> Finding:
        began = time.monotonic()
        for first in range(0, self.seeds_max, self.seeds_at_once):
            order = ["--first", str(first), "--seeds", str(self.seeds_at_once), *options]
            finding = self._play(folder, order)
            if finding.verdict is Verdict.CAUGHT:
                seed = finding.what.partition(":")[0].removeprefix("seed ")
                if self._play(unchanged, ["--seed", seed]).verdict is not Verdict.PASSED:
                    finding = replace(finding, verdict=Verdict.BROKEN)
            if finding.verdict is not Verdict.PASSED:
                return replace(finding, seconds=time.monotonic() - began)
        what = f"not caught in {self.seeds_max} seeds"
        return Finding(Verdict.PASSED, what, time.monotonic() - began)

    def _play(self, folder: Path, options: Sequence[str]) -> Finding:
        order = [*options, "--figures", str(folder / "figures.json")]
        code, seconds, told = _run(folder, ["tests.simulation", *order], self.seconds_max)
        violation = _SEED.search(told)
        if code == 0:
            return Finding(Verdict.PASSED, "", seconds)
        if code != 1 or violation is None:
            return Finding(Verdict.BROKEN, _last_line(told), seconds)
        return Finding(Verdict.CAUGHT, violation.group(0), seconds)


class FaultHarness:
    """The real servers and processes, while the fault is injected that the mutant does not survive."""

    name = "faults"
    episodes = 4
    seconds_max = 600.0

    def hunt(self, folder: Path, mutant: Mutant) -> Finding:
        if not mutant.fault:
            return Finding(Verdict.PASSED, f"not asked: {mutant.spared}", 0.0)
        where = self.asks(mutant)
        code, seconds, told = self._run(folder, mutant)
        if code == 0:
            return Finding(Verdict.PASSED, f"not caught: {where}", seconds)
        violation = _VIOLATION.search(told)
        if code != 1 or violation is None:
            return Finding(Verdict.BROKEN, f"{where}: {_last_line(told)}", seconds)
        return Finding(Verdict.CAUGHT, f"{where}: {violation.group(1)}", seconds)

    def asks(self, mutant: Mutant) -> str:
        return f"{mutant.fault} under {mutant.workload}"

    def is_quiet(self, folder: Path, mutants: Sequence[Mutant]) -> Finding:
        seconds_in_all = 0.0
        for mutant in mutants:
            code, seconds, told = self._run(folder, mutant)
            seconds_in_all += seconds
            if code != 0:
                violation = _VIOLATION.search(told)
                what = _last_line(told) if violation is None else violation.group(1)
                return Finding(Verdict.BROKEN, f"{self.asks(mutant)}: {what}", seconds_in_all)
        return Finding(Verdict.PASSED, "", seconds_in_all)

    def _run(self, folder: Path, mutant: Mutant) -> tuple[int | None, float, str]:
        order = ["--faults", mutant.fault, "--workloads", mutant.workload]
        order += ["--episodes", str(self.episodes), "--seed", "1"]
        return _run(folder, ["tests.faults", *order], self.seconds_max)


def _run(folder: Path, module: Sequence[str], seconds_max: float) -> tuple[int | None, float, str]:
    """Exit code (None: it took too long, and was ended with all it started), seconds, output."""
    environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", *module],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        told, _ = process.communicate(timeout=seconds_max)
        return process.returncode, time.monotonic() - began, told
    except BaseException as error:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            return None, time.monotonic() - began, "took too long"
        raise


def _first_failure(report: Path) -> tuple[str, str] | None:
    """Name and reason of the first test that failed; one whose fixtures broke is none."""
    for case in ElementTree.parse(report).iter("testcase"):
        failure = case.find("failure")
        if failure is not None:
            return case.get("name", ""), failure.get("message", "")
    return None


def _last_line(told: str) -> str:
    return (told.strip().splitlines() or ["it said nothing"])[-1]
