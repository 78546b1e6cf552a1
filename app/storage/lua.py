"""Lua scripts as files: loaded with their includes, sent by digest, sent whole only where unknown.

A script file lists what it shares as lines `--@include NAME` (NAME.lua in the folder `include` beside
it). Only an explicit NOSCRIPT leads to a second sending; every other failure is the caller's to judge.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

_INCLUDE = "--@include "

Argument = str | int | bytes


class Script:
    """One verb. `source` is the text with its includes in place."""

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        self.source = _with_includes(path)
        self.digest = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    async def run(self, client: Redis, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        try:
            return await client.evalsha(self.digest, len(keys), *keys, *arguments)
        except NoScriptError:
            await client.script_load(self.source)
            return await client.evalsha(self.digest, len(keys), *keys, *arguments)


def _with_includes(path: Path) -> str:
    lines: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith(_INCLUDE):
            included = path.parent / "include" / f"{line.removeprefix(_INCLUDE).strip()}.lua"
            lines += included.read_text(encoding="utf-8").splitlines()
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"
