"""The figures of a run, and of all runs so far: a file to which each run is added."""

import json
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.simulation.scheduler import Verdict


@dataclass
class Run:
    """The results of a range of seeds, as far as they were run."""

    first: int
    steps_each: int
    seeds: int = 0
    steps: int = 0
    failing: list[int] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)

    def take(self, verdict: Verdict) -> None:
        self.seeds += 1
        self.steps += verdict.steps
        self.faults += verdict.faults
        self.done += verdict.counts
        if verdict.violation is not None:
            self.failing.append(verdict.seed)

    def summary(self) -> str:
        return f"{self.seeds} seeds, {self.steps} steps, {len(self.failing)} violations"

    def to_json(self) -> dict[str, Any]:
        return {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": _commit(),
            "first": self.first,
            "seeds": self.seeds,
            "steps_each": self.steps_each,
            "steps": self.steps,
            "faults": sum(self.faults.values()),
            "faults_by_kind": dict(sorted(self.faults.items())),
            "done": dict(sorted(self.done.items())),
            "failing": self.failing,
        }


def add_to_file(path: Path, run: Run) -> str:
    """Add the run to the file; return the new totals as text."""
    runs: list[dict[str, Any]] = []
    if path.exists():
        runs = json.loads(path.read_text(encoding="utf-8"))["runs"]
    runs.append(run.to_json())
    total = {name: sum(one[name] for one in runs) for name in ("seeds", "steps", "faults")}
    total["violations"] = sum(len(one["failing"]) for one in runs)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"total": total, "runs": runs}, indent=1)
    path.write_text(text + "\n", encoding="utf-8")
    return ", ".join(f"{count} {name}" for name, count in total.items()) + f", {len(runs)} runs"


def _commit() -> str:
    """The commit, with a plus sign if the work tree differs from it."""
    asked = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        answer = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return answer.stdout.strip()
