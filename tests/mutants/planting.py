"""A copy of the work tree to plant a mutant in; the tree itself is never changed."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]


class DoesNotApply(Exception):
    """The code that a patch changes has changed: the patch must be made again."""


@contextmanager
def copy_of_tree() -> Iterator[Path]:
    """A folder with every file that git tracks or would add, with its present content."""
    listed = _git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    with tempfile.TemporaryDirectory(prefix="hf-mutant-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        for path in filter(None, listed.stdout.split("\0")):
            source, target = ROOT / path, folder / path
            if source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
        yield folder


def plant(patch: Path, folder: Path) -> None:
    """Apply the patch to the copy in `folder`; raises DoesNotApply if it no longer fits."""
    _apply(patch, folder)
    if _git(folder, "apply", "--check", "--reverse", str(patch)).returncode != 0:
        raise DoesNotApply(f"{patch.name} changed nothing")


def check(patch: Path) -> None:
    """Raise DoesNotApply if the patch does not fit the work tree."""
    _apply(patch, ROOT, "--check")


def _apply(patch: Path, folder: Path, *options: str) -> None:
    applied = _git(folder, "apply", *options, str(patch))
    if applied.returncode != 0:
        raise DoesNotApply(f"{patch.name}: {applied.stderr.strip()}")


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run git in a folder, isolated from any repository around it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment["GIT_CEILING_DIRECTORIES"] = str(folder.parent)
    return subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
