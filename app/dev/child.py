"""A child process that ends when its parent ends.

`holdfast dev` and the tests start every program as a `Child`: through pdeathsig_exec.py, in a session of its
own, so that a Ctrl-C at the terminal reaches the parent alone and the parent decides the order in which
children end. The process id is written beside the child's data, so that the next start can wait for a
predecessor that is still stopping after its parent was killed.
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
    """What to run, and how to stop it.

    `log` receives both output streams, and one older generation of it is kept. Without a log the caller reads
    the streams, as `Child.output` and `Child.errors`. `stop_signals` are tried in order, each with its seconds
    of grace, before SIGKILL; the first one is also the death signal.
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
        _write_pid(program.pid_file, process.pid)
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
        """Ends the program and its descendants, within the seconds of grace and one more."""
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
        """Ends the program and its descendants at once."""
        self.kill_group()
        await self.process.wait()
        _remove_pid(self.program.pid_file)

    def kill_group(self) -> None:
        with suppress(ProcessLookupError, PermissionError):  # PermissionError: macOS, for a zombie
            os.killpg(self.process.pid, signal.SIGKILL)

    def _send(self, signal_number: signal.Signals) -> None:
        try:
            self.process.send_signal(signal_number)
        except ProcessLookupError:
            return


class Pipe:
    """A stream that a child writes and this process reads.

    With asyncio's own pipes `wait` would also wait for their end, which a grandchild that runs on after the
    child can delay without limit.
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


async def await_predecessor(pid_file: Path, *, grace_seconds: float = 15.0) -> None:
    """Waits until the process of an earlier run has ended; kills it after `grace_seconds`."""
    predecessor = _read_pid(pid_file)
    deadline = time.monotonic() + grace_seconds
    while predecessor is not None and is_alive(predecessor):
        if time.monotonic() > deadline + 5:
            raise CannotStartError(
                f"process {predecessor.pid} of an earlier run does not end; stop it with kill -9"
            )
        if time.monotonic() > deadline:
            predecessor.kill()
        await asyncio.sleep(0.05)
    _remove_pid(pid_file)


def is_alive(process: psutil.Process) -> bool:
    """False also for a zombie, which holds no resource."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _open_log(log: Path) -> IO[bytes]:
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > _LOG_LIMIT_BYTES:
        log.replace(log.with_suffix(".old"))
    return log.open("ab")


def _write_pid(pid_file: Path, pid: int) -> None:
    try:
        started = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:  # it ended at once, which `wait` will report
        return
    pid_file.write_text(f"{pid} {started}\n")


def _read_pid(pid_file: Path) -> psutil.Process | None:
    """The process of an earlier run, if it still exists. Its id alone may belong to another process now."""
    try:
        pid, started = pid_file.read_text().split()
        process = psutil.Process(int(pid))
        is_same = abs(process.create_time() - float(started)) < 2
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        return None
    return process if is_same else None


def _remove_pid(pid_file: Path) -> None:
    pid_file.unlink(missing_ok=True)
