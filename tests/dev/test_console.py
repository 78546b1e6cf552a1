"""The terminal may stop reading; what is running may not notice."""

import os
import time

import pytest

from app.dev.console import Console


def test_a_reader_that_stopped_holds_nothing_up() -> None:
    reading, writing = os.pipe()
    console = Console()
    began = time.monotonic()
    for _ in range(5_000):
        console.write(writing, b"x" * 10_000)
    console.flush(0.1)
    assert time.monotonic() - began < 5
    os.close(reading)
    console.flush(5)
    os.close(writing)


def test_progress_without_a_terminal_is_a_line_a_quarter(
    capfd: pytest.CaptureFixture[str],
) -> None:
    console = Console()
    with console.progress("loading") as progress:
        for done in range(1, 101):
            progress(done, 100)
        progress(0, 0)
    console.flush()
    assert capfd.readouterr().err.splitlines() == [
        f"loading: {percent} %" for percent in (25, 50, 75, 100)
    ]
