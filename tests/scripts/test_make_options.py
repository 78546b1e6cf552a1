"""The Makefile's commands turn the names they are given into options of the program they run."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INSTALLED = (".venv/installed-test", ".venv/installed-dev")
Make = Callable[..., str]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Runs `make` with a program in Python's place that prints its arguments."""
    (tmp_path / "python").write_text('#!/bin/sh\nprintf "[%s]" "$@"\n')
    (tmp_path / "python").chmod(0o755)

    def made(*arguments: str, **environment: str) -> str:
        up_to_date = [option for file in INSTALLED for option in ("--old-file", file)]
        return subprocess.run(
            ["make", "--no-print-directory", *up_to_date, f"BIN={tmp_path}", *arguments],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"]} | environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout

    return made


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("faults", "[-m][tests.faults]"),
        ("faults MINUTES=5 SEED=7", "[-m][tests.faults][--minutes][5][--seed][7]"),
        ("faults FAULTS=a,b WORKLOADS=c", "[-m][tests.faults][--faults][a,b][--workloads][c]"),
        ("faults EPISODES=2 FIRST=0", "[-m][tests.faults][--episodes][2][--first][0]"),
        ("faults HELP=1", "[-m][tests.faults][--help]"),
        ("faults SCENARIO=all", "[-m][tests.faults.scenarios]"),
        ("faults SCENARIO=redis-flushed MINUTES=5", "[-m][tests.faults.scenarios][redis-flushed]"),
        ("faults SCENARIO=all HELP=1", "[-m][tests.faults.scenarios][--help]"),
        ("simulate SEEDS=50 FIRST=10", "[-m][tests.simulation][--seeds][50][--first][10]"),
        ("simulate SEED=0", "[-m][tests.simulation][--trace][--seed][0]"),
        ("mutants ALL=1", "[-m][tests.mutants][--all-catchers]"),
        ("model ARGS=--list", "[-m][tests.model][--list]"),
        ("bench ROWS=a,b ROUNDS=7", "[-m][benchmarks][--rows][a,b][--rounds][7]"),
        ("bench SECONDS=0.5", "[-m][benchmarks][--seconds][0.5]"),
    ],
)
def test_a_command_passes_its_options_on(make: Make, command: str, arguments: str) -> None:
    assert make(*command.split()) == arguments


def test_a_value_with_spaces_names_several(make: Make) -> None:
    assert make("mutants", "NAMES=one two") == "[-m][tests.mutants][one][two]"
    assert make("faults", "SCENARIO=one two") == "[-m][tests.faults.scenarios][one][two]"


def test_options_may_come_from_the_environment(make: Make) -> None:
    assert make("faults", MINUTES="0.5") == "[-m][tests.faults][--minutes][0.5]"


def test_help_has_one_line_for_each_command(make: Make) -> None:
    lines = make("help").splitlines()
    assert len(lines) == len({line.split()[1] for line in lines})
    assert max(map(len, lines)) <= 115
