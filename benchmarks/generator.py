"""The driver's side of the load generator: hands it plans, and reads the machine around its window."""

import asyncio
import json
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from app.dev.child import with_death_signal
from benchmarks.arithmetic import Measured
from benchmarks.load import Outcome, Plan

LINE_BYTES_MAX = 1_000_000
Cpu = Callable[[], Mapping[str, float]]


class Generator:
    """Made by `start`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls) -> "Generator":
        command = [sys.executable, "-m", "benchmarks.load"]
        return cls(
            await asyncio.create_subprocess_exec(
                *with_death_signal(command, signal.SIGTERM, "same"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=LINE_BYTES_MAX,
            )
        )

    async def run(self, plan: Plan, cpu: Cpu) -> tuple[Measured, Outcome]:
        """`cpu` is read when the window opens and when it closes."""
        writer, reader = self._process.stdin, self._process.stdout
        assert writer is not None
        assert reader is not None
        writer.write((json.dumps(asdict(plan)) + "\n").encode())
        await _line(reader)
        before = cpu()
        outcome = Outcome(**await _line(reader))
        after = cpu()
        await _line(reader)
        spent = {name: after[name] - before[name] for name in before}
        return _measured(outcome, spent), outcome

    async def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), 5.0)
            return
        self._process.kill()
        await self._process.wait()


async def _line(reader: asyncio.StreamReader) -> dict[str, Any]:
    line = await reader.readline()
    if not line:
        raise RuntimeError("the load generator ended; what it said stands above")
    told: dict[str, Any] = json.loads(line)
    return told


def _measured(outcome: Outcome, cpu: Mapping[str, float]) -> Measured:
    return Measured(
        operations=outcome.operations,
        seconds=outcome.seconds,
        cpu=dict(cpu),
        p50_ms=outcome.p50_ms,
        p99_ms=outcome.p99_ms,
        max_ms=outcome.max_ms,
        statuses=outcome.statuses,
        generator_busy=outcome.cpu_seconds / outcome.seconds if outcome.seconds else 0.0,
        lost=outcome.lost,
        notes=tuple(outcome.samples),
    )
