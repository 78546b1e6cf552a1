"""A child process that never outlives its parent.

Every program that `holdfast dev` and the tests start goes through `Child`: it is started by
pdeathsig_exec.py, in a session of its own, so that a Ctrl-C at the terminal reaches the parent alone
and the parent decides the order. Its process id is kept beside its data, so that the next start can
wait for a predecessor that is still winding down after its parent was killed.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import psutil

from app.dev.errors import CannotStartError

User = Literal["same", "namespace", "nobody"]

_PDEATHSIG_EXEC = Path(__file__).with_name("pdeathsig_exec.py")
_LOG_LIMIT_BYTES = 10_000_000
_TAIL_BYTES = 4_000


@dataclass(frozen=True, slots=True)
class Program:
    """What to run, and how it likes to be stopped.

    `log` takes what it writes (both streams), with one older generation kept; without a log both
    streams are the caller's to read, as `Child.output` and `Child.errors`. `stop_signals` are tried
    in order, each with its seconds of grace, before SIGKILL; the first is also its death signal.
    """

    name: str
    command: Sequence[str]
    pid_file: Path
    stop_signals: Sequence[tuple[signal.Signals, float]]
    log: Path | None = None
    environment: Mapping[str, str] | None = None
    user: User = "same"


class Child:
    """One running program. Made by `start`."""

    def __init__(
        self, program: Program, process: asyncio.subprocess.Process, pipes: Sequence["Pipe"]
    ) -> None:
        self.program = program
        self.process = process
        self._pipes = pipes

    @classmethod
    async def start(cls, program: Program) -> "Child":
        program.pid_file.parent.mkdir(parents=True, exist_ok=True)
        pipes: list[Pipe] = []
        if program.log:
            log = _open_log(program.log)
            outputs = [log, log]
        else:
            pipes = [await Pipe.open(), await Pipe.open()]
            outputs = [pipe.writing for pipe in pipes]
        try:
            process = await asyncio.create_subprocess_exec(
                *with_death_signal(program.command, program.stop_signals[0][0], program.user),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=outputs[0],
                stderr=outputs[1],
                env=dict(program.environment) if program.environment is not None else None,
                start_new_session=True,
            )
        except BaseException:
            for pipe in pipes:
                pipe.close()
            raise
        finally:
            for output in outputs:
                output.close()
        _remember(program.pid_file, process.pid)
        return cls(program, process, pipes)

    @property
    def output(self) -> asyncio.StreamReader:
        return self._pipes[0].reading

    @property
    def errors(self) -> asyncio.StreamReader:
        return self._pipes[1].reading

    def close_pipes(self) -> None:
        for pipe in self._pipes:
            pipe.close()

    @property
    def running(self) -> bool:
        return self.process.returncode is None

    async def wait(self) -> int:
        return await self.process.wait()

    async def stop(self) -> None:
        """Ends the program and whatever it started, within its graces and a second."""
        for signal_number, grace_seconds in self.program.stop_signals:
            if not self.running:
                break
            self._send(signal_number)
            try:
                await asyncio.wait_for(self.process.wait(), grace_seconds)
            except TimeoutError:
                continue
        await self.kill()

    async def kill(self) -> None:
        """Ends the program and whatever it started, at once."""
        self.kill_group()
        await self.process.wait()
        _forget(self.program.pid_file)

    def kill_group(self) -> None:
        with suppress(ProcessLookupError, PermissionError):  # the latter: macOS, of a zombie
            os.killpg(self.process.pid, signal.SIGKILL)

    def _send(self, signal_number: signal.Signals) -> None:
        try:
            self.process.send_signal(signal_number)
        except ProcessLookupError:
            return


class Pipe:
    """What a child writes, to be read here.

    asyncio's own pipes make `wait` wait for their end, which a grandchild that outlives the child
    may put off for ever; these do not.
    """

    def __init__(
        self, reading: asyncio.StreamReader, transport: asyncio.ReadTransport, writing: IO[bytes]
    ) -> None:
        self.reading = reading
        self.writing = writing
        self._transport = transport

    @classmethod
    async def open(cls) -> "Pipe":
        source, sink = os.pipe()
        reading = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reading), os.fdopen(source, "rb", buffering=0)
        )
        return cls(reading, transport, os.fdopen(sink, "wb", buffering=0))

    def close(self) -> None:
        self._transport.close()


def with_death_signal(
    command: Sequence[str], death_signal: signal.Signals, user: User
) -> list[str]:
    """The command that runs `command` so that it dies with this process."""
    prefix = [sys.executable, "-I", "-S", str(_PDEATHSIG_EXEC)]
    return [*prefix, str(os.getpid()), str(int(death_signal)), user, *command]


def tail(log: Path, lines: int = 5) -> str:
    """The last lines of a log, for the person who must find out what went wrong."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        text = file.read().decode(errors="replace")
    return "\n".join(text.splitlines()[-lines:])


async def outlast_predecessor(pid_file: Path, *, patience_seconds: float = 15.0) -> None:
    """Waits until the process of an earlier run is gone; ends it when patience runs out."""
    predecessor = _remembered(pid_file)
    deadline = time.monotonic() + patience_seconds
    while predecessor is not None and is_alive(predecessor):
        if time.monotonic() > deadline + 5:
            raise CannotStartError(f"process {predecessor.pid} of an earlier run does not end")
        if time.monotonic() > deadline:
            predecessor.kill()
        await asyncio.sleep(0.05)
    _forget(pid_file)


def is_alive(process: psutil.Process) -> bool:
    """False also for a zombie: it holds nothing, it only waits to be counted."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _open_log(log: Path) -> IO[bytes]:
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > _LOG_LIMIT_BYTES:
        log.replace(log.with_suffix(".old"))
    return log.open("ab")


def _remember(pid_file: Path, pid: int) -> None:
    try:
        started = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:  # it ended at once; whoever waits for it will see that
        return
    pid_file.write_text(f"{pid} {started}\n")


def _remembered(pid_file: Path) -> psutil.Process | None:
    """The process of an earlier run, if that very process (not its id alone) still exists."""
    try:
        pid, started = pid_file.read_text().split()
        process = psutil.Process(int(pid))
        same = abs(process.create_time() - float(started)) < 2
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        return None
    return process if same else None


def _forget(pid_file: Path) -> None:
    pid_file.unlink(missing_ok=True)
