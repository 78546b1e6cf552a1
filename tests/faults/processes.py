"""The roles of a fault run as processes: an API behind its own links to both stores, and a relay.

Each can be killed, frozen, resumed and restarted on the same port and folder, with its clock unchanged. The
relay's standard output is the bus: all its runs append to one file.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import psutil

from app.clock import utc_now
from app.dev.child import Child, Program, tail
from app.dev.issuer import mint_token
from app.main import DEV_ISSUER_PATH
from tests.faults import moved_clock
from tests.faults.proxy import Proxy
from tests.faults.wire import Lost, Wire
from tests.fixtures.roles import STOP_SECONDS, Role

READY_SECONDS = 40.0
_ERRORS_MAX = 3
TENANTS = ("demo", "rival", "ops")
_MINTED_AGO = timedelta(minutes=10)  # good too for a process whose clock is behind


class Process(Role):
    """One role whose clock can be moved."""

    def __init__(self, role: str, name: str, environment: Mapping[str, str]) -> None:
        super().__init__(role, environment)
        self.called = name
        self.log = self.folder / f"{role}.log"
        self._clock = self.folder / f"{role}.clock"
        self._read_until = 0  # bytes of the log

    async def start(self) -> None:
        moved_clock.move(self._clock, 0.0)
        self.child = await Child.start(
            Program(
                name=self.called,
                command=self._command(),
                pid_file=self.folder / f"{self.name}.pid",
                log=self.log,
                stop_signals=((signal.SIGTERM, STOP_SECONDS),),
                environment=self.environment,
            )
        )

    def move_clock(self, seconds: float) -> None:
        moved_clock.move(self._clock, seconds)

    def errors_logged(self) -> list[str]:
        """Lines of the log that came since this was last asked."""
        with self.log.open("rb") as log:
            log.seek(self._read_until)
            text = log.read()
            self._read_until = log.tell()
        lines = text.decode(errors="replace").splitlines()
        shown = [line for line in lines if '"level": "error"' in line or "Traceback" in line]
        return [f"{self.called}: {_shortened(line)}" for line in shown[:_ERRORS_MAX]]

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self.running:
            self.send(number)

    def _command(self) -> list[str]:
        return [sys.executable, "-m", "tests.faults.moved_clock", str(self._clock), self.name]


class ApiProcess(Process):
    """One worker of the API, and the wire to it."""

    def __init__(
        self, name: str, environment: Mapping[str, str], redis_link: Proxy, postgres_link: Proxy
    ) -> None:
        super().__init__("api", name, environment)
        self.port = int(environment["PORT"])
        self.redis_link = redis_link
        self.postgres_link = postgres_link
        self.wire = Wire(self.port)
        self.tokens: dict[str, str] = {}

    async def start(self) -> None:
        """Start it; returns when it listens. `is_ready` says whether it can serve."""
        await super().start()
        async with asyncio.timeout(READY_SECONDS):
            while self.running:
                try:
                    await self.wire.call("GET", "/livez", {}, timeout=2.0)
                except Lost:
                    await asyncio.sleep(0.05)
                else:
                    self.mint_tokens()
                    return
        raise RuntimeError(f"{self.called} did not start:\n{tail(self.log, 20)}")

    def mint_tokens(self) -> None:
        issuer_url = f"http://localhost:{self.port}{DEV_ISSUER_PATH}"
        self.tokens = {
            tenant: mint_token(self.folder, issuer_url, tenant, lambda: utc_now() - _MINTED_AGO)
            for tenant in TENANTS
        }

    async def is_ready(self) -> bool:
        try:
            return (await self.wire.call("GET", "/readyz", {}, timeout=3.0)).status == 200
        except Lost:
            return False

    async def kill(self) -> None:
        await super().kill()
        self.wire.close()

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.wire.close()
        await super().stop(number)


class RelayProcess(Process):
    """A relay that appends its standard output to `bus`, even after one was killed in mid-line."""

    def __init__(self, name: str, environment: Mapping[str, str], bus: Path) -> None:
        super().__init__("relay", name, environment)
        self.bus = bus

    def _command(self) -> list[str]:
        return ["/bin/sh", "-c", 'exec "$@" >> "$0"', str(self.bus), *super()._command()]


def _shortened(line: str) -> str:
    """A long line without its middle: the beginning says what happened, the end says where."""
    return line if len(line) <= 900 else f"{line[:400]} … {line[-500:]}"


def kill_with_descendants(pid: int) -> None:
    """SIGKILL to a process and to all that it started, those in groups of their own included."""
    try:
        parent = psutil.Process(pid)
        family = [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for process in family:
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    psutil.wait_procs(family, timeout=5)
