"""Two thousand seeds find no violation; a seed replays exactly; planted mistakes are found."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulation import __main__
from tests.simulation.mutants import MUTANTS, planted
from tests.simulation.scheduler import Verdict, run_seed

ROOT = Path(__file__).parents[2]
QUICKLY_CAUGHT = {
    "no epoch check in any script": 100,
    "key filter used before it is complete": 50,
    "a grant sets no bit in the key filter": 200,
    "answer before the journal": 20,
    "retry with a new id": 20,
    "refused on the answer of Redis alone": 400,
    "no incarnation check": 200,
    "release without tombstone": 200,
    "no undo of a late grant": 50,
    "rows applied without version": 300,
    "cut over HELD rows only": 500,
    "epoch read at INSERT time": 500,
}
"""Mutants, each with a number of seeds that is more than enough to find it."""


def simulate(*arguments: str, hash_seed: str = "random") -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_two_thousand_seeds(tmp_path: Path) -> None:
    said = simulate(
        "--seeds", "2000", "--steps", "200", "--figures", str(tmp_path / "figures.json")
    )
    assert said.splitlines()[-1].endswith(" 0 violations"), said
    assert (tmp_path / "figures.json").exists()


def test_an_interrupted_run_keeps_what_it_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> Iterator[Verdict]:
        yield from (run_seed(seed, 20) for seed in (7, 8))
        raise KeyboardInterrupt

    figures = tmp_path / "figures.json"
    asked = ["simulation", "--first", "7", "--seeds", "9", "--figures", str(figures)]
    monkeypatch.setattr(sys, "argv", asked)
    monkeypatch.setattr(__main__, "verdicts", interrupted)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert __main__.main() == 1
    assert "interrupted: only the seeds before 9 were run" in capsys.readouterr().out
    assert json.loads(figures.read_text())["total"]["seeds"] == 2


@pytest.mark.parametrize("seed", [3, 57])
def test_a_seed_replays_exactly(seed: int) -> None:
    """The trace is the same in another process with another hash seed."""
    first = simulate("--seed", str(seed), "--trace", hash_seed="1")
    assert first == simulate("--seed", str(seed), "--trace", hash_seed="2")
    verdict = run_seed(seed, 200)
    assert f"trace {verdict.hash:08x}" in first


@pytest.mark.parametrize("name", sorted(QUICKLY_CAUGHT))
def test_a_planted_mistake_is_found(name: str) -> None:
    with planted(name):
        verdicts = (run_seed(seed, 200) for seed in range(QUICKLY_CAUGHT[name]))
        assert any(verdict.violation for verdict in verdicts), name


def test_no_mutant_stays_planted() -> None:
    assert QUICKLY_CAUGHT.keys() <= MUTANTS.keys()
    assert run_seed(2, 200).violation is None
