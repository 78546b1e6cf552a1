"""On what, from what and when it was measured."""

import os
import platform
import subprocess
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil

from app.clock import utc_now


@dataclass(frozen=True, slots=True)
class Machine:
    cpu: str
    cores: int
    memory_gib: float
    system: str
    python: str
    file_system: str  # of the servers' folders
    load_before: float  # of the minute before the run, per core: how idle the machine was
    commit: str
    date: str

    @property
    def text(self) -> str:
        return (
            f"{self.cores} × {self.cpu}, {self.memory_gib:.0f} GiB, {self.system}, "
            f"Python {self.python}, servers on {self.file_system}; "
            f"load before the run {self.load_before:.2f} a core"
        )


def this_machine(folder: Path) -> Machine:
    cores = psutil.cpu_count() or 1
    return Machine(
        cpu=_cpu_model(),
        cores=cores,
        memory_gib=psutil.virtual_memory().total / 2**30,
        system=f"{platform.system()} {platform.release().split('-')[0]}",
        python=platform.python_version(),
        file_system=_file_system(folder),
        load_before=os.getloadavg()[0] / cores,
        commit=_commit(),
        date=now(),
    )


def now() -> str:
    instant: datetime = utc_now()
    return instant.strftime("%Y-%m-%d %H:%M UTC")


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _file_system(folder: Path) -> str:
    holding = [
        part
        for part in psutil.disk_partitions(all=True)
        if folder.resolve().is_relative_to(part.mountpoint)
    ]
    return max(holding, key=lambda part: len(part.mountpoint)).fstype if holding else "unknown"


def _commit() -> str:
    """With a mark where the tree has changes that are not committed."""
    root = Path(__file__).parent
    try:
        head = _git(root, "rev-parse", "--short", "HEAD")
        changed = _git(root, "status", "--porcelain", "--", "../app", "../migrations")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + ("+" if changed else "")


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()
