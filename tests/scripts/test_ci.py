"""`.ci/run` as it stands, on a repository whose Makefile does nothing, fails or takes too long."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

RUN = Path(__file__).parents[2] / ".ci" / "run"
MAKEFILE = """\
TARGETS := check test test-browser lint-openapi test-clients
TOOLS := .venv/bin/python .venv/installed-outside .venv/installed-redocly
.PHONY: $(TARGETS)
$(TARGETS) $(TOOLS):
\t@[ $@ != "$(SLOW)" ] || exec sleep 60
\t@[ $@ != "$(BROKEN)" ]
\t@echo "$@ is done"
"""
DOWNLOAD = """\
#!/bin/sh
sleep 0.2
mkdir -p .venv/hadolint/bin bin
ln -s /bin/true .venv/hadolint/bin/hadolint
ln -s /bin/true bin/docker-compose
"""
PARTS = ["check", "downloads", "compose", "dockerfiles", "test", "browser", "openapi", "clients"]


class Ran:
    """The exit code of a run, its output and its table: the verdict of each part and step."""

    def __init__(self, ran: subprocess.CompletedProcess[str]) -> None:
        self.code = ran.returncode
        self.output, _, table = ran.stdout.rpartition("\n\n")
        heading, *rows = table.splitlines()
        assert heading.split() == ["step", "part", "seconds", "ceiling", "verdict"]
        self.parts = {row[9:21].strip(): row[41:] for row in rows if row[9:21].strip()}
        self.steps = {row[:9].strip(): row[41:] for row in rows if not row[9:21].strip()}
        self.ceilings = {row[:9].strip(): row[31:39].strip() for row in rows}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / ".ci").mkdir()
    shutil.copy(RUN, tmp_path / ".ci")
    (tmp_path / ".ci" / "download").write_text(DOWNLOAD)
    (tmp_path / ".ci" / "download").chmod(0o755)
    (tmp_path / "Makefile").write_text(MAKEFILE)
    return tmp_path


def run(folder: Path, **environment: str) -> Ran:
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    return Ran(
        subprocess.run(
            [".ci/run"],
            cwd=folder,
            env={"PATH": path} | environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=50,
        )
    )


def test_a_run_that_passes(folder: Path) -> None:
    ran = run(folder)
    assert ran.code == 0
    assert ran.parts == dict.fromkeys(PARTS, "passed")
    assert ran.steps == dict.fromkeys(("core", "outside", "all"), "passed")
    assert (ran.ceilings["core"], ran.ceilings["outside"]) == ("1500", "900")
    assert ran.ceilings["all"] == "3900"
    assert "test is done" in ran.output.splitlines()


@pytest.mark.parametrize(
    ("target", "part", "step"),
    [("check", "check", "core"), ("test", "test", "core"), ("test-clients", "clients", "outside")],
)
def test_a_part_that_fails_fails_its_step_and_the_run(
    folder: Path, target: str, part: str, step: str
) -> None:
    ran = run(folder, BROKEN=target)
    assert ran.code == 1
    assert ran.parts == dict.fromkeys(PARTS, "passed") | {part: "failed"}
    assert ran.steps == {"core": "passed", "outside": "passed"} | {step: "failed", "all": "failed"}


def test_a_step_over_its_ceiling_is_stopped_and_the_next_one_runs(folder: Path) -> None:
    ran = run(folder, SLOW="test", CORE_CEILING="2")
    assert ran.code == 1
    assert ran.parts["test"] == "stopped"
    assert "browser" not in ran.parts
    assert ran.steps == {"core": "over its ceiling", "outside": "passed", "all": "failed"}


def test_a_run_over_the_total_ceiling_fails(folder: Path) -> None:
    ran = run(folder, TOTAL_CEILING="-1")
    assert ran.code == 1
    assert ran.steps == {"core": "passed", "outside": "passed", "all": "over its ceiling"}


def test_what_npm_is_needed_for_is_left_out_where_its_registry_is_out_of_reach(
    folder: Path,
) -> None:
    ran = run(folder, BROKEN=".venv/installed-redocly")
    assert ran.code == 0
    assert (ran.parts["openapi"], ran.parts["clients"]) == ("left out", "left out")
    assert ran.output.count("left out: npm's registry cannot be reached") == 2


def test_a_step_that_does_not_exist_fails(folder: Path) -> None:
    assert subprocess.run([".ci/run", "nothing"], cwd=folder, check=False).returncode == 1
