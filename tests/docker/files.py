"""The compose file and the Dockerfiles, as data, and their commands as they can be run without Docker."""

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DOCKERFILES = {".": ROOT / "Dockerfile", "./docker/moto": ROOT / "docker/moto/Dockerfile"}


def compose() -> dict[str, Any]:
    """The file with its anchors resolved, and its variables left as they are written."""
    yaml = importlib.import_module("yaml")  # it ships no types
    content: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return content


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose()["services"]
    return found


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """Each instruction and its arguments, continued lines joined and comments left out."""
    lines = [line for line in dockerfile.read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [
        (name, rest)
        for name, _, rest in (line.partition(" ") for line in joined.split("\n") if line)
    ]


def image_environment(dockerfile: Path = DOCKERFILES["."]) -> dict[str, str]:
    """What ENV sets, without the paths that exist in the image alone."""
    pairs = [
        pair for name, rest in instructions(dockerfile) if name == "ENV" for pair in rest.split()
    ]
    return {
        name: value
        for name, _, value in (pair.partition("=") for pair in pairs)
        if not value.startswith("/")
    }


def runnable(command: list[str]) -> list[str]:
    """A command of our images, run from its source."""
    program, *arguments = command
    for context, dockerfile in DOCKERFILES.items():
        for name, rest in instructions(dockerfile):
            source, _, target = rest.partition(" ")
            if name == "COPY" and target == f"/usr/local/bin/{program}":
                return [sys.executable, str(ROOT / context / source), *arguments]
    raise AssertionError(f"no image has a {program}")


def healthcheck(
    service: str,
    environment: Mapping[str, str],
    *,
    replaced: Mapping[str, str] | None = None,
    program: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Runs a service's healthcheck. `replaced` are words of it that differ here: its port."""
    kind, *command = services()[service]["healthcheck"]["test"]
    assert kind == "CMD", "no shell is needed"
    for word, other in (replaced or {}).items():
        assert word in command, f"{word} is not in {command}"
        command = [other if part == word else part for part in command]
    return subprocess.run(
        [str(program), *command[1:]] if program else runnable(command),
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=20,
    )
