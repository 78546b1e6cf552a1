"""What dies is started again, but not for ever; what it writes reaches the terminal."""

import asyncio
import sys
from pathlib import Path

import pytest

from app.dev import restarter
from app.dev.child import Child
from app.dev.console import Console
from app.dev.errors import CannotStartError
from app.dev.restarter import GaveUpError, Role, keep_running


def _role(folder: Path, code: str, console: Console) -> Role:
    return Role("program", folder, console, command=[sys.executable, "-c", code])


async def test_what_keeps_dying_is_given_up_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(restarter, "_FIRST_PAUSE_SECONDS", 0.01)
    console = Console()
    role = _role(tmp_path, "print('no use', flush=True); raise SystemExit(1)", console)
    await role.start()
    with pytest.raises(GaveUpError, match=r"ended 4 times within a minute.*\n.*no use"):
        await asyncio.wait_for(keep_running(role, console), 20)
    console.flush()
    written = capfd.readouterr()
    assert written.out == "no use\n" * 4
    assert written.err == "program ended; restarting it\n" * 3


async def test_a_broken_setting_is_not_tried_again(tmp_path: Path) -> None:
    console = Console()
    role = _role(
        tmp_path,
        "print('PORT: no', flush=True); raise SystemExit(2)",
        console,
    )
    await role.start()
    with pytest.raises(CannotStartError, match="PORT: no"):
        await asyncio.wait_for(keep_running(role, console), 20)


async def test_what_was_killed_runs_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restarter, "_FIRST_PAUSE_SECONDS", 0.01)
    started: asyncio.Queue[Child] = asyncio.Queue()

    class Observed(Role):
        async def start(self) -> None:
            await super().start()
            assert self.child is not None
            started.put_nowait(self.child)

    console = Console()
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    role = Observed("program", tmp_path, console, command=command)
    await role.start()
    keeping = asyncio.create_task(keep_running(role, console))
    (await started.get()).process.kill()
    second = await asyncio.wait_for(started.get(), 10)
    keeping.cancel()
    assert second.running
    await role.stop()


async def test_a_line_without_an_end_does_not_grow_for_ever(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    console = Console()
    role = _role(tmp_path, "print('x' * 300_000, end='', flush=True)", console)
    await role.start()
    assert role.child is not None
    await role.child.wait()
    await role.stop()
    console.flush(5)
    assert capfd.readouterr().out.count("x") == 300_000
