"""Relays that are killed and frozen, as processes: duplicates may come, nothing may be missing."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from app.outbox.model import Fact
from app.storage.database import Database
from tests.builders.facts import a_fact, append, rows

_AGGREGATES, _LENGTH = 8, 5
_ROOT = Path(__file__).resolve().parents[2]


async def test_killed_between_publishing_and_marking_it_repeats_and_loses_nothing(
    database: Database, postgres_url: str, tmp_path: Path
) -> None:
    await append(database, *_history())
    bus = tmp_path / "bus"
    for batch in (1, 2, 3):
        async with _relay(postgres_url, bus, 0.5, die_at_batch=batch) as process:
            assert await asyncio.wait_for(process.wait(), 15) == -signal.SIGKILL
    async with _relay(postgres_url, bus, 0.5):
        await _until_all_published(database)

    delivered = _delivered(bus)
    assert _firsts(delivered) == _whole()
    assert len(delivered) > _AGGREGATES * _LENGTH, "the kills were meant to cause repetitions"


async def test_frozen_past_its_lease_it_wakes_without_turning_anything_around(
    database: Database, postgres_url: str, tmp_path: Path
) -> None:
    await append(database, *_history())
    bus = tmp_path / "bus"
    async with _relay(postgres_url, bus, 0.5) as first:
        await _until(lambda: len(_delivered(bus)) > 0)
        first.send_signal(signal.SIGSTOP)
        try:
            async with _relay(postgres_url, bus, 0.5) as second:
                await _until(lambda: any(one["by"] == second.pid for one in _delivered(bus)))
                first.send_signal(signal.SIGCONT)
                await _until_all_published(database)
        finally:
            first.send_signal(signal.SIGCONT)

    assert _firsts(_delivered(bus)) == _whole()


@asynccontextmanager
async def _relay(
    url: str, bus: Path, lease_seconds: float, die_at_batch: int = 0
) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.outbox.relay_process"),
        *(url, str(bus), str(lease_seconds), str(die_at_batch)),
        cwd=_ROOT,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 10)
            except TimeoutError:
                process.kill()
                await process.wait()
                raise


def _history() -> list[Fact]:
    return [
        a_fact(f"bkg_{name}", sequence, seconds=sequence)
        for sequence in range(1, _LENGTH + 1)
        for name in range(_AGGREGATES)
    ]


def _whole() -> dict[str, list[int]]:
    return {f"bkg_{name}": list(range(1, _LENGTH + 1)) for name in range(_AGGREGATES)}


def _delivered(bus: Path) -> list[dict[str, Any]]:
    if not bus.exists():
        return []
    whole_lines = bus.read_text().split("\n")[:-1]
    return [json.loads(line) for line in whole_lines]


def _firsts(delivered: list[dict[str, Any]]) -> dict[str, list[int]]:
    firsts: dict[str, list[int]] = {}
    for event in delivered:
        seen = firsts.setdefault(event["aggregate"]["id"], [])
        if event["sequence"] not in seen:
            seen.append(event["sequence"])
    return firsts


async def _until_all_published(database: Database) -> None:
    async with asyncio.timeout(15):
        while not all(row["published_at"] for row in await rows(database)):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not condition():  # noqa: ASYNC110 - the condition is another process's doing
            await asyncio.sleep(0.01)
