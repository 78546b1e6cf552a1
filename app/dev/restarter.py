"""Roles of Holdfast as children, and the care for children: one that dies is started again.

Not for ever: what dies again and again has a reason that a restart does not mend.
"""

import asyncio
import os
import signal
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn, Protocol

from app.dev.child import Child, Program, outlast_predecessor
from app.dev.console import Console
from app.dev.errors import CannotStartError

_RESTARTS = 3
_WITHIN_SECONDS = 60.0
_FIRST_PAUSE_SECONDS = 0.5
_DRAIN_SECONDS = 20.0  # more than a role takes to finish what it has begun
_BROKEN_SETTING = 2  # a role's exit code for what no restart mends
_CHUNK_BYTES = 65_536
_REMEMBERED_BYTES = 4_000


class GaveUpError(Exception):
    """A child keeps dying; the text says which, and its last words."""


class Kept(Protocol):
    """What can be kept running: the embedded servers and the roles."""

    name: str
    child: Child | None

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    def tail(self) -> str: ...


class Role:
    """`holdfast api` or `holdfast relay`, with what it writes passed on to the console."""

    def __init__(
        self,
        name: str,
        data_dir: Path,
        console: Console,
        *,
        command: Sequence[str] | None = None,
    ) -> None:
        self.name = name
        self._command = command or [sys.executable, "-m", "app.cli", name]
        self.environment: Mapping[str, str] = {}
        self.child: Child | None = None
        self._console = console
        self._remembered = b""
        self._passing_on: list[asyncio.Task[None]] = []
        self._pid_file = data_dir / "run" / f"{name}.pid"

    async def outlast_predecessor(self) -> None:
        await outlast_predecessor(self._pid_file)

    async def start(self) -> None:
        await self._end_passing_on()
        self._remembered = b""
        self.child = await Child.start(self._program())
        self._passing_on = [
            asyncio.create_task(self._pass_on(1, self.child.output)),
            asyncio.create_task(self._pass_on(2, self.child.errors)),
        ]

    async def stop(self) -> None:
        if self.child is not None:
            await self.child.stop()
        await self._end_passing_on()

    def tail(self) -> str:
        return "\n".join(self._remembered.decode(errors="replace").splitlines()[-15:])

    def _program(self) -> Program:
        return Program(
            name=self.name,
            command=self._command,
            pid_file=self._pid_file,
            stop_signals=((signal.SIGTERM, _DRAIN_SECONDS),),
            environment={**os.environ, **self.environment, "PYTHONUNBUFFERED": "1"},
        )

    async def _pass_on(self, descriptor: int, stream: asyncio.StreamReader) -> None:
        """Whole lines at a time, so that two roles never share one."""
        rest = b""
        while chunk := await stream.read(_CHUNK_BYTES):
            self._remembered = (self._remembered + chunk)[-_REMEMBERED_BYTES:]
            lines, newline, rest = (rest + chunk).rpartition(b"\n")
            if len(rest) > _CHUNK_BYTES:
                lines, newline, rest = lines + newline + rest, b"\n", b""
            if newline:
                self._console.pass_on(descriptor, lines + newline)
        if rest:
            self._console.pass_on(descriptor, rest + b"\n")

    async def _end_passing_on(self) -> None:
        """A grandchild may hold the pipes open after the child is gone."""
        if self._passing_on:
            _, still = await asyncio.wait(self._passing_on, timeout=1)
            for task in still:
                task.cancel()
        self._passing_on = []
        if self.child is not None:
            self.child.close_pipes()


async def keep(kept: Kept, console: Console) -> NoReturn:
    """Starts `kept` again whenever it dies; raises when it died too often."""
    deaths: deque[float] = deque()
    while True:
        words = await _death_of(kept)
        now = asyncio.get_running_loop().time()
        deaths.append(now)
        while deaths[0] < now - _WITHIN_SECONDS:
            deaths.popleft()
        if len(deaths) > _RESTARTS:
            raise GaveUpError(
                f"{kept.name} ended {len(deaths)} times within a minute. Its last words:\n{words}"
            )
        console.tell(f"{kept.name} ended; starting it again")
        await asyncio.sleep(_FIRST_PAUSE_SECONDS * 2 ** (len(deaths) - 1))
        with suppress(CannotStartError):  # counted as the next death
            await kept.start()


async def _death_of(kept: Kept) -> str:
    if kept.child is not None:
        code = await kept.child.wait()
        await kept.stop()  # what it started and left behind
        if code == _BROKEN_SETTING and isinstance(kept, Role):
            raise CannotStartError(kept.tail())
    return kept.tail()
