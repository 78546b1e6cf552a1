"""The catchers of mutants. A catch counts only if the expected failure occurs.

Every catcher runs as a subprocess in the copy of the tree, with a time limit.
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
from tests.mutants.planting import copy_of_tree

_MISTAKES: Final = (
    "ImportError",
    "ModuleNotFoundError",
    "NameError",
    "SyntaxError",
    "IndentationError",
)
"""Failures of a patch that does not even run; they do not count as a catch."""

_VIOLATION: Final = re.compile(r"^  (I\d+: .*)$", re.MULTILINE)
_SEED: Final = re.compile(r"^seed \d+: (?:I\d+|.*oversell_stopped).*$", re.MULTILINE)
"""A broken invariant, or an oversale that the constraint had to stop; no other failure counts."""


class Verdict(Enum):
    CAUGHT = auto()
    PASSED = auto()
    BROKEN = auto()  # failed for another reason, which proves nothing


@dataclass(frozen=True, slots=True)
class Finding:
    verdict: Verdict
    what: str  # the test, the seed, or the fault and workload; or the other failure
    seconds: float


class Catcher(Protocol):
    name: str

    def hunt(self, folder: Path, mutant: Mutant) -> Finding: ...

    def method_of(self, mutant: Mutant) -> str:
        """Names its way to look for this mutant; equal for mutants that it looks for in the same way."""

    def is_clean(self, folder: Path, mutants: Sequence[Mutant]) -> Finding:
        """PASSED if it finds nothing in the unchanged tree."""


class NamedTests:
    """The tests of the rule that the mutant breaks; the ordinary tests run first and must still pass."""

    name = "tests"
    seconds_max = 180.0

    def hunt(self, folder: Path, mutant: Mutant) -> Finding:
        code, seconds, failed, output = self._run(
            folder, [*ORDINARY, *mutant.tests], first_only=True
        )
        if code == 0:
            return Finding(Verdict.PASSED, "not caught", seconds)
        if code != 1 or failed is None:
            return Finding(Verdict.BROKEN, output, seconds)
        name, reason = failed
        if any(test.rpartition("::")[2] == name.partition("[")[0] for test in ORDINARY):
            return Finding(Verdict.BROKEN, f"an ordinary test fails too: {name}", seconds)
        if reason.startswith(_MISTAKES):
            return Finding(Verdict.BROKEN, f"{name}: {reason}", seconds)
        return Finding(Verdict.CAUGHT, name, seconds)

    def method_of(self, mutant: Mutant) -> str:
        return " ".join(mutant.tests)

    def is_clean(self, folder: Path, mutants: Sequence[Mutant]) -> Finding:
        tests = dict.fromkeys(test for mutant in mutants for test in mutant.tests)
        code, seconds, failed, output = self._run(folder, [*ORDINARY, *tests], first_only=False)
        if code == 0:
            return Finding(Verdict.PASSED, "", seconds)
        return Finding(Verdict.BROKEN, " ".join(failed or [output]), seconds)

    def _run(
        self, folder: Path, tests: Sequence[str], *, first_only: bool
    ) -> tuple[int | None, float, tuple[str, str] | None, str]:
        report = folder / "report.xml"
        command = ["pytest", "-q", "-p", "no:cacheprovider", f"--junit-xml={report}"]
        command += ["-x"] if first_only else []
        code, seconds, output = _run(folder, [*command, *tests], self.seconds_max)
        return code, seconds, _first_failure(report) if code == 1 else None, output


class Simulator:
    """The simulator, seed after seed.

    A seed that fails with the mutant must pass without it: it replays exactly the same steps.
    """

    name = "simulator"
    seeds_max, seeds_per_run = 1000, 100
    seconds_max = 300.0

    def hunt(self, folder: Path, mutant: Mutant) -> Finding:
        if not mutant.simulated:
            return Finding(Verdict.PASSED, "not run", 0.0)
        with copy_of_tree() as unchanged:
            if mutant.simulated == AS_PLANTED:
                return self._hunt(folder, [], unchanged)
            return self._hunt(unchanged, ["--mutant", mutant.simulated], unchanged)

    def method_of(self, mutant: Mutant) -> str:
        return "the first seeds"

    def is_clean(self, folder: Path, mutants: Sequence[Mutant]) -> Finding:
        return self._simulate(folder, ["--seeds", str(self.seeds_per_run)])

    def _hunt(self, folder: Path, options: Sequence[str], unchanged: Path) -> Finding:
        began = time.monotonic()
        for first in range(0, self.seeds_max, self.seeds_per_run):
            order = ["--first", str(first), "--seeds", str(self.seeds_per_run), *options]
            finding = self._simulate(folder, order)
            if finding.verdict is Verdict.CAUGHT:
                seed = finding.what.partition(":")[0].removeprefix("seed ")
                if self._simulate(unchanged, ["--seed", seed]).verdict is not Verdict.PASSED:
                    finding = replace(finding, verdict=Verdict.BROKEN)
            if finding.verdict is not Verdict.PASSED:
                return replace(finding, seconds=time.monotonic() - began)
        what = f"not caught in {self.seeds_max} seeds"
        return Finding(Verdict.PASSED, what, time.monotonic() - began)

    def _simulate(self, folder: Path, options: Sequence[str]) -> Finding:
        order = [*options, "--figures", str(folder / "figures.json")]
        code, seconds, output = _run(folder, ["tests.simulation", *order], self.seconds_max)
        violation = _SEED.search(output)
        if code == 0:
            return Finding(Verdict.PASSED, "", seconds)
        if code != 1 or violation is None:
            return Finding(Verdict.BROKEN, _last_line(output), seconds)
        return Finding(Verdict.CAUGHT, violation.group(0), seconds)


class FaultHarness:
    """The fault harness: real servers and processes, under the fault that exposes the mutant."""

    name = "faults"
    episodes = 4
    seconds_max = 600.0

    def hunt(self, folder: Path, mutant: Mutant) -> Finding:
        if not mutant.fault:
            return Finding(Verdict.PASSED, f"not run: {mutant.no_fault_because}", 0.0)
        where = self.method_of(mutant)
        code, seconds, output = self._run(folder, mutant)
        if code == 0:
            return Finding(Verdict.PASSED, f"not caught: {where}", seconds)
        violation = _VIOLATION.search(output)
        if code != 1 or violation is None:
            return Finding(Verdict.BROKEN, f"{where}: {_last_line(output)}", seconds)
        return Finding(Verdict.CAUGHT, f"{where}: {violation.group(1)}", seconds)

    def method_of(self, mutant: Mutant) -> str:
        return f"{mutant.fault} under {mutant.workload}"

    def is_clean(self, folder: Path, mutants: Sequence[Mutant]) -> Finding:
        seconds_total = 0.0
        for mutant in mutants:
            code, seconds, output = self._run(folder, mutant)
            seconds_total += seconds
            if code != 0:
                violation = _VIOLATION.search(output)
                what = _last_line(output) if violation is None else violation.group(1)
                return Finding(Verdict.BROKEN, f"{self.method_of(mutant)}: {what}", seconds_total)
        return Finding(Verdict.PASSED, "", seconds_total)

    def _run(self, folder: Path, mutant: Mutant) -> tuple[int | None, float, str]:
        order = ["--faults", mutant.fault, "--workloads", mutant.workload]
        order += ["--episodes", str(self.episodes), "--seed", "1"]
        return _run(folder, ["tests.faults", *order], self.seconds_max)


def _run(folder: Path, module: Sequence[str], seconds_max: float) -> tuple[int | None, float, str]:
    """Run a module; returns the exit code (None after a timeout, with all it started killed), seconds, output."""
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
        output, _ = process.communicate(timeout=seconds_max)
        return process.returncode, time.monotonic() - began, output
    except BaseException as error:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            return None, time.monotonic() - began, "took too long"
        raise


def _first_failure(report: Path) -> tuple[str, str] | None:
    """Name and message of the first test that failed; an error in a fixture does not count."""
    for case in ElementTree.parse(report).iter("testcase"):
        failure = case.find("failure")
        if failure is not None:
            return case.get("name", ""), failure.get("message", "")
    return None


def _last_line(output: str) -> str:
    return (output.strip().splitlines() or ["no output"])[-1]
