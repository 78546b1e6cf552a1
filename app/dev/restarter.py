"""Runs the roles of Holdfast as child processes, and restarts a child that has died.

A child that dies again and again has a cause that a restart does not remove, so restarts are bounded.
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

from app.dev.child import Child, Program, await_predecessor
from app.dev.console import Console
from app.dev.errors import CannotStartError

_RESTARTS_MAX = 3
_WITHIN_SECONDS = 60.0
_FIRST_PAUSE_SECONDS = 0.5
_DRAIN_SECONDS = 20.0  # more than a role takes to finish the work it has begun
_EXIT_BROKEN = 2  # a role's exit code for an error that a restart does not remove
_CHUNK_BYTES = 65_536
_TAIL_BYTES = 4_000


class GaveUpError(Exception):
    """A child keeps dying. The text names it and has the end of its output."""


class Restartable(Protocol):
    """What can be restarted: the embedded servers and the roles."""

    name: str
    child: Child | None

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    def tail(self) -> str: ...


class Role:
    """`holdfast api` or `holdfast relay`; its output is copied to the console."""

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
        self._tail = b""
        self._copying: list[asyncio.Task[None]] = []
        self._pid_file = data_dir / "run" / f"{name}.pid"

    async def await_predecessor(self) -> None:
        await await_predecessor(self._pid_file)

    async def start(self) -> None:
        await self._end_copying()
        self._tail = b""
        self.child = await Child.start(self._program())
        self._copying = [
            asyncio.create_task(self._copy(1, self.child.output)),
            asyncio.create_task(self._copy(2, self.child.errors)),
        ]

    async def stop(self) -> None:
        if self.child is not None:
            await self.child.stop()
        await self._end_copying()

    def tail(self) -> str:
        return "\n".join(self._tail.decode(errors="replace").splitlines()[-15:])

    def _program(self) -> Program:
        return Program(
            name=self.name,
            command=self._command,
            pid_file=self._pid_file,
            stop_signals=((signal.SIGTERM, _DRAIN_SECONDS),),
            environment={**os.environ, **self.environment, "PYTHONUNBUFFERED": "1"},
        )

    async def _copy(self, descriptor: int, stream: asyncio.StreamReader) -> None:
        """Copies whole lines, so that the output of two roles is never mixed within a line."""
        rest = b""
        while chunk := await stream.read(_CHUNK_BYTES):
            self._tail = (self._tail + chunk)[-_TAIL_BYTES:]
            lines, newline, rest = (rest + chunk).rpartition(b"\n")
            if len(rest) > _CHUNK_BYTES:
                lines, newline, rest = lines + newline + rest, b"\n", b""
            if newline:
                self._console.write(descriptor, lines + newline)
        if rest:
            self._console.write(descriptor, rest + b"\n")

    async def _end_copying(self) -> None:
        """A grandchild may hold the pipes open after the child is gone."""
        if self._copying:
            _, still = await asyncio.wait(self._copying, timeout=1)
            for task in still:
                task.cancel()
        self._copying = []
        if self.child is not None:
            self.child.close_pipes()


async def keep_running(program: Restartable, console: Console) -> NoReturn:
    """Restarts `program` whenever it dies. Raises GaveUpError if it died too often."""
    deaths: deque[float] = deque()
    while True:
        tail = await _death_of(program)
        now = asyncio.get_running_loop().time()
        deaths.append(now)
        while deaths[0] < now - _WITHIN_SECONDS:
            deaths.popleft()
        if len(deaths) > _RESTARTS_MAX:
            raise GaveUpError(
                f"{program.name} ended {len(deaths)} times within a minute. The end of its output:\n{tail}"
            )
        console.log(f"{program.name} ended; restarting it")
        await asyncio.sleep(_FIRST_PAUSE_SECONDS * 2 ** (len(deaths) - 1))
        with suppress(CannotStartError):  # counted as the next death
            await program.start()


async def _death_of(program: Restartable) -> str:
    if program.child is not None:
        code = await program.child.wait()
        await program.stop()  # also ends its descendants
        if code == _EXIT_BROKEN and isinstance(program, Role):
            raise CannotStartError(program.tail())
    return program.tail()
