"""The figures of all runs, added up in `faults.json` of a folder outside version control.

Rewritten after every episode, under a lock, so that runs may be interrupted, repeated and run side by side.
The history, dumps and sentences of a violation are kept beside it.
"""

import fcntl
import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from app.clock import instant_text, utc_now
from tests.faults.checker import Violation
from tests.faults.dumps import Dumps
from tests.faults.episode import Outcome

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".figures"
_COUNTED = ("episodes", "injections", "operations", "unknown", "violations")

Numbers = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Run:
    """A run, identified by its start time; its command line is recorded, so that it can be repeated."""

    seed: int
    command: str
    commit: str
    began_at: datetime
    folder: Path

    @classmethod
    def begin(cls, seed: int, command: str, folder: Path = FOLDER) -> "Run":
        return cls(seed, command, _commit(), utc_now(), folder)


def add(run: Run, outcome: Outcome, violations: Sequence[Violation], seconds: float) -> Numbers:
    """Count one episode; returns the sums of all runs."""
    counts = {
        "episodes": 1,
        "injections": len(outcome.faults),
        "operations": len(outcome.history),
        "unknown": sum(one.outcome == "unknown" for one in outcome.history.operations()),
        "violations": len(violations),
    }
    with _opened(run.folder) as figures:
        fault = _of(figures, "faults", outcome.plan.fault)
        slowest = max(outcome.recovery_seconds(), default=0.0)
        fault["slowest_recovery_seconds"] = round(
            max(slowest, fault.get("slowest_recovery_seconds", 0.0)), 2
        )
        groups = [figures, fault]
        groups += [_of(figures, "workloads", name) for name in outcome.plan.workloads]
        run_figures = _of(figures, "runs", instant_text(run.began_at))
        run_figures |= {"seed": run.seed, "commit": run.commit, "command": run.command}
        run_figures["seconds"] = round(run_figures.get("seconds", 0) + seconds)
        for group in (*groups, run_figures):
            for name in _COUNTED:
                group[name] = group.get(name, 0) + counts[name]
        return figures


def keep(run: Run, outcome: Outcome, dumps: Dumps, violations: Sequence[Violation]) -> Path:
    """Keep everything that is needed to investigate a violation; returns the folder."""
    folder = run.folder / "violations" / outcome.plan.label
    folder.mkdir(parents=True, exist_ok=True)
    outcome.history.write(folder / "history.jsonl")
    dumps.about(outcome.flights).write(folder / "dumps.json")
    windows = "".join(f"fault {begun:.3f}–{healed:.3f}\n" for begun, healed in outcome.faults)
    sentences = "".join(f"{violation}\n" for violation in violations)
    (folder / "violations.txt").write_text(f"{outcome.plan}\n{windows}{sentences}")
    return folder


@contextmanager
def _opened(folder: Path) -> Iterator[Numbers]:
    folder.mkdir(exist_ok=True)
    file = folder / "faults.json"
    with (folder / "faults.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        figures: Numbers = json.loads(file.read_text()) if file.exists() else {}
        yield figures
        draft = file.with_suffix(".new")
        draft.write_text(json.dumps(figures, indent=1) + "\n")
        draft.replace(file)


def _of(figures: Numbers, group: str, name: str) -> Numbers:
    found: Numbers = figures.setdefault(group, {}).setdefault(name, {})
    return found


def _commit() -> str:
    """The commit, with a mark if the work tree differs from it."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip() or "unknown"
