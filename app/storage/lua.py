"""Lua scripts as files: loaded with their includes, called by digest, sent in full only if the server lacks them.

A script file lists shared code as lines `--@include NAME` (NAME.lua in the folder `include` beside it).
Several calls, also of different scripts, may be sent as one (`Bundle`): the server runs them in order, with
nothing in between. Only an explicit NOSCRIPT leads to a second call; the caller handles every other failure.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

_INCLUDE: Final = "--@include "
_SCRIPTS: Final = "--@scripts\n"
_TEMPLATE: Final = Path(__file__).with_name("bundle.lua")

Argument = str | int | bytes


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    script: str
    keys: Sequence[str]
    arguments: Sequence[Argument]


class Script:
    """One operation. `source` is the text with its includes in place."""

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        self.source = _with_includes(path)
        self.digest = _digest(self.source)

    async def run(self, client: Redis, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        return await _run(client, self.digest, self.source, keys, arguments)


class Bundle:
    """One script that contains all the others, so that several calls of them are one call of it."""

    def __init__(self, scripts: Iterable[Script]) -> None:
        functions = "".join(
            f"scripts['{script.name}'] = function(KEYS, ARGV)\n{script.source}end\n"
            for script in scripts
        )
        self.source = _TEMPLATE.read_text(encoding="utf-8").replace(_SCRIPTS, functions)
        self.digest = _digest(self.source)

    async def run(self, client: Redis, calls: Sequence[Call]) -> list[Any]:
        """One answer for each call, in order; None for a call whose script failed."""
        keys = [key for call in calls for key in call.keys]
        arguments: list[Argument] = [len(calls)]
        for call in calls:
            arguments += (call.script, len(call.keys), len(call.arguments))
            arguments += call.arguments
        answers = await _run(client, self.digest, self.source, keys, arguments)
        return [None if answer == [b"FAILED"] else answer for answer in answers]


async def _run(
    client: Redis, digest: str, source: str, keys: Sequence[str], arguments: Sequence[Argument]
) -> Any:
    try:
        return await client.evalsha(digest, len(keys), *keys, *arguments)
    except NoScriptError:
        await client.script_load(source)
        return await client.evalsha(digest, len(keys), *keys, *arguments)


def _digest(source: str) -> str:
    return hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


def _with_includes(path: Path) -> str:
    lines: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith(_INCLUDE):
            included = path.parent / "include" / f"{line.removeprefix(_INCLUDE).strip()}.lua"
            lines += included.read_text(encoding="utf-8").splitlines()
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"
