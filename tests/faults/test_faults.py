"""Eight faults, twenty seconds each, on real servers: what clients were answered stays true.

`make faults` runs all of them for any time; `python -m tests.faults --help` explains it.
"""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from app.dev.child import Child, Program

FAULTS = (
    "redis-empty",
    "redis-old-primary",
    "redis-replies-dropped",
    "half-open",
    "postgres-kill",
    "api-kill",
    "api-freeze",
    "clients-hang-up",
)
SECONDS = 20
PATIENCE_SECONDS = 600.0  # of a busy machine; else it takes three minutes


async def test_eight_faults_break_no_invariant(tmp_path: Path) -> None:
    options = [
        "--faults",
        ",".join(FAULTS),
        "--episodes",
        str(len(FAULTS)),
        "--seconds",
        f"{SECONDS}",
    ]
    run = await Child.start(
        Program(
            name="faults",
            command=[
                sys.executable,
                *("-m", "tests.faults", *options, "--figures", str(tmp_path / "figures")),
            ],
            pid_file=tmp_path / "faults.pid",
            log=tmp_path / "faults.log",
            stop_signals=((signal.SIGINT, 30.0),),
            environment={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
    )
    try:
        code = await asyncio.wait_for(run.wait(), PATIENCE_SECONDS)
    finally:
        await run.stop()
    output = (tmp_path / "faults.log").read_text()
    assert code == 0, output
    figures = json.loads((tmp_path / "figures" / "faults.json").read_text())
    assert set(figures["faults"]) == set(FAULTS)
    assert all(counts["injections"] for counts in figures["faults"].values()), output
    assert figures["violations"] == 0
    assert figures["operations"] > 1000, output
