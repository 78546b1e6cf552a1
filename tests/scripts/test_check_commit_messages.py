"""The check of commit messages, run on repositories that are made for the purpose."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "check_commit_messages.py"
GOOD = "hold: keep the tombstone for a day"


class Repository:
    """A throw-away repository, with a git that no configuration of the machine changes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.git("init", "--quiet")

    def git(self, *arguments: str) -> None:
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("GIT_")
        } | {"GIT_CONFIG_GLOBAL": os.devnull}
        author = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.com")
        subprocess.run(
            ["git", *author, *arguments], cwd=self.folder, env=environment, check=True, timeout=60
        )

    def commit(self, message: str) -> None:
        self.git("commit", "--quiet", "--allow-empty", "--message", message)

    def add_the_check(self) -> None:
        target = self.folder / "scripts" / SCRIPT.name
        target.parent.mkdir()
        shutil.copy(SCRIPT, target)
        self.git("add", "scripts")
        self.commit("the commit that adds the check is itself exempt.")

    def check(self) -> tuple[int, str]:
        return check(self.folder, self.folder.parent)


def check(folder: Path, ceiling: Path) -> tuple[int, str]:
    """The exit code and the output of the check of `folder`; git searches no higher than `ceiling`."""
    ran = subprocess.run(
        [sys.executable, str(folder / "scripts" / SCRIPT.name)],
        env={"PATH": os.environ["PATH"], "GIT_CEILING_DIRECTORIES": str(ceiling)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert not ran.stderr
    return ran.returncode, ran.stdout


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """Its first commit, older than the check, has a message that breaks the rules."""
    folder = tmp_path / "repository"
    folder.mkdir()
    made = Repository(folder)
    made.commit("A message from before the check.")
    made.add_the_check()
    return made


@pytest.mark.parametrize(
    "message",
    [
        GOOD,
        f"{GOOD}\n\nThe body says why.\n\n{'x' * 100}",
        "schedule, search: feed the cache from the importer",
        f"docs: {'x' * 66}",
    ],
)
def test_a_good_message_passes(repository: Repository, message: str) -> None:
    repository.commit(message)
    code, output = repository.check()
    assert (code, output) == (0, "commit messages: all 1 follow the rules\n")


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        ("Keep the tombstone for a day", "must read `area: imperative sentence`"),
        ("Hold: keep the tombstone for a day", "must read `area: imperative sentence`"),
        ("hold:keep the tombstone for a day", "must read `area: imperative sentence`"),
        (f"docs: {'x' * 67}", "the subject has 73 characters"),
        ("hold: added a tombstone", "it begins with `added`"),
        ("hold: keeping the tombstone", "it begins with `keeping`"),
        (f"{GOOD}.", "must not end with a period"),
        (f"{GOOD}\nand say why", "the second line must be blank"),
        (f"{GOOD}\n\nWhy:\n{'x' * 101}", "line 4 has 101 characters"),
    ],
)
def test_a_bad_message_fails(repository: Repository, message: str, problem: str) -> None:
    repository.commit(GOOD)
    repository.commit(message)
    code, output = repository.check()
    assert code == 1
    assert problem in output
    assert "commit messages: 1 of 2 break the rules of CONTRIBUTING.md" in output


def test_commits_before_the_check_are_exempt(repository: Repository) -> None:
    assert repository.check() == (0, "commit messages: all 0 follow the rules\n")


def test_a_folder_without_history_passes(tmp_path: Path) -> None:
    folder = tmp_path / "unpacked"
    shutil.copytree(SCRIPT.parent, folder / "scripts")
    code, output = check(folder, tmp_path)
    assert code == 0
    assert output.startswith("commit messages: left out, because git says: fatal: not a git rep")


def test_a_folder_inside_another_repository_passes(repository: Repository, tmp_path: Path) -> None:
    inside = repository.folder / "vendored"
    shutil.copytree(SCRIPT.parent, inside / "scripts")
    code, output = check(inside, tmp_path)
    assert code == 0
    assert output == (
        "commit messages: left out, because this folder is not the top of a git checkout\n"
    )


def test_a_shallow_clone_passes(repository: Repository, tmp_path: Path) -> None:
    repository.commit("a message that breaks the rules")
    clone = tmp_path / "clone"
    repository.git("clone", "--quiet", "--depth=1", f"file://{repository.folder}", str(clone))
    code, output = check(clone, tmp_path)
    assert (code, output) == (0, "commit messages: left out, because this clone is shallow\n")
