"""Checks the style of commit messages: `area: imperative sentence`, as CONTRIBUTING.md describes it.

Run as `python scripts/check_commit_messages.py`: checks every commit after the one that added this
file, and exits with 1 if a message breaks a rule. Without the history (no git checkout, a shallow
clone) it prints one line and passes. It reads the local history only and needs no remote.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SUBJECT = re.compile(r"(?P<area>[a-z0-9_, /-]+): (?P<sentence>\S.*)")
SUBJECT_MAX = 72
LINE_MAX = 100
IMPERATIVES = {"bring", "embed", "exceed", "feed", "ping", "proceed", "seed", "shed", "speed"}


class NoHistoryError(Exception):
    """The history is not here to be checked; the message says why."""


def problems(message: str) -> Iterator[str]:
    """What breaks a rule in a commit message, one sentence each."""
    subject, *rest = message.rstrip("\n").split("\n")
    if len(subject) > SUBJECT_MAX:
        yield f"the subject has {len(subject)} characters; the maximum is {SUBJECT_MAX}"
    matched = SUBJECT.fullmatch(subject)
    if matched is None:
        yield "the subject must read `area: imperative sentence`, with a lower-case area"
    else:
        first = matched["sentence"].split()[0].lower()
        if first.endswith(("ed", "ing")) and first not in IMPERATIVES:
            yield f"the sentence must be imperative, as in `add` or `fix`; it begins with `{first}`"
    if subject.endswith("."):
        yield "the subject must not end with a period"
    if rest and rest[0]:
        yield "the second line must be blank"
    for number, line in enumerate(rest, 2):
        if len(line) > LINE_MAX:
            yield f"line {number} has {len(line)} characters; the maximum is {LINE_MAX}"


def commits() -> Iterator[tuple[str, str]]:
    """The abbreviated hash and the message of each commit after the one that added this file."""
    if Path(_git("rev-parse", "--show-toplevel").strip()).resolve() != ROOT:
        raise NoHistoryError("this folder is not the top of a git checkout")
    if _git("rev-parse", "--is-shallow-repository").strip() == "true":
        raise NoHistoryError("this clone is shallow")
    path = Path(__file__).resolve().relative_to(ROOT)
    added = _git("log", "--diff-filter=A", "--format=%H", "--", str(path)).split()
    if not added:
        raise NoHistoryError(f"no commit has added {path} yet")
    log = _git("log", "--no-merges", "-z", "--format=%h %B", f"{added[-1]}..HEAD")
    for entry in filter(None, log.split("\0")):
        commit, _, message = entry.partition(" ")
        yield commit, message


def main() -> int:
    try:
        checked = list(commits())
    except NoHistoryError as reason:
        print(f"commit messages: left out, because {reason}")
        return 0
    failed = 0
    for commit, message in checked:
        found = list(problems(message))
        failed += bool(found)
        if found:
            print(f"{commit} {message.splitlines()[0]}")
        for problem in found:
            print(f"  {problem}")
    if failed:
        print(f"commit messages: {failed} of {len(checked)} break the rules of CONTRIBUTING.md")
    else:
        print(f"commit messages: all {len(checked)} follow the rules")
    return 1 if failed else 0


def _git(*arguments: str) -> str:
    try:
        ran = subprocess.run(  # noqa: S603 - fixed arguments, no shell
            ["git", *arguments],  # noqa: S607 - the developer's own git
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise NoHistoryError("git is not installed") from None
    if ran.returncode:
        raise NoHistoryError(f"git says: {ran.stderr.strip()}".partition("\n")[0])
    return ran.stdout


if __name__ == "__main__":
    sys.exit(main())
