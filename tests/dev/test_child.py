"""Children end with their parent, whole, and in time."""

import asyncio
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from app.dev.child import Child, Program, await_predecessor, is_alive, tail

_PARENT = """
import asyncio, sys
from pathlib import Path
from signal import SIGTERM
from app.dev.child import Child, Program

async def main():
    child = await Child.start(Program(
        "sleeper",
        ["/bin/sh", "-c", "echo $$; exec sleep 600"],
        Path(sys.argv[1]),
        ((SIGTERM, 5.0),),
    ))
    print((await child.output.readline()).decode(), flush=True)
    await child.wait()

asyncio.run(main())
"""
_STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(grandchild.pid, flush=True)
time.sleep(600)
"""


def _program(folder: Path, *code: str, grace_seconds: float = 5.0) -> Program:
    return Program(
        name="program",
        command=[sys.executable, "-c", *code],
        pid_file=folder / "program.pid",
        stop_signals=((signal.SIGTERM, grace_seconds),),
        log=folder / "program.log",
    )


def test_a_child_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT, tmp_path / "pid"], stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        assert is_alive(child)
        parent.kill()
        parent.wait()
        psutil.wait_procs([child], timeout=5)
        assert not is_alive(child)


async def test_it_ends_what_does_not_listen_with_all_it_started(tmp_path: Path) -> None:
    program = replace(_program(tmp_path, _STUBBORN, grace_seconds=0.2), log=None)
    child = await Child.start(program)
    grandchild = psutil.Process(int(await child.output.readline()))
    await child.stop()
    child.close_pipes()
    psutil.wait_procs([grandchild], timeout=5)
    assert not is_alive(grandchild)
    assert not child.running


async def test_its_end_is_seen_while_a_grandchild_still_holds_its_output(tmp_path: Path) -> None:
    child = await Child.start(replace(_program(tmp_path, _STUBBORN), log=None))
    await child.output.readline()
    child.process.kill()
    assert await asyncio.wait_for(child.wait(), 5) == -signal.SIGKILL
    await child.stop()
    child.close_pipes()


async def test_it_waits_for_a_predecessor_and_then_ends_it(tmp_path: Path) -> None:
    child = await Child.start(_program(tmp_path, "import time; time.sleep(600)"))
    await await_predecessor(tmp_path / "program.pid", grace_seconds=0.1)
    assert await child.wait() == -signal.SIGKILL


@pytest.mark.parametrize("left_behind", ["", "nonsense", "1 12.5", "999999999 12.5"])
async def test_what_only_looks_like_a_predecessor_is_left_alone(
    tmp_path: Path, left_behind: str
) -> None:
    pid_file = tmp_path / "program.pid"
    pid_file.write_text(left_behind)
    await await_predecessor(pid_file, grace_seconds=0)
    assert not pid_file.exists()


async def test_a_log_keeps_one_older_generation(tmp_path: Path) -> None:
    log = tmp_path / "program.log"
    log.write_bytes(b"x" * 10_000_001)
    child = await Child.start(_program(tmp_path, "print('last words')"))
    await child.wait()
    assert tail(log) == "last words"
    assert log.with_suffix(".old").stat().st_size == 10_000_001
