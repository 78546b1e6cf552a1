"""A history is read from disk unchanged."""

from pathlib import Path

from tests.faults.checker.scripts import drawn, play
from tests.faults.history import History


def test_a_history_is_read_as_it_was_written(tmp_path: Path) -> None:
    history = play(drawn(1, 60)).history
    history.write(tmp_path / "history.jsonl")
    assert History.read(tmp_path / "history.jsonl").operations() == history.operations()
