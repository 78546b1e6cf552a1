"""What holds add to flights is summed, and split where it is too much for one call."""

import pytest

from app.hold.epochs import load_batches
from app.hold.epochs.load_batches import ExpiryBatches


def memo(hold_id: str, expires_at: int, *lines: str) -> str:
    return f"{hold_id} {';'.join(lines)} {expires_at} 1 1 0 r"


def test_holds_of_one_class_are_one_sum() -> None:
    sums = ExpiryBatches()
    assert sums.add(memo("hold_a", 1000, "flt_2|economy|1|2", "flt_1|first|2|2")) == "hold_a"
    sums.add(memo("hold_b", 999, "flt_2|economy|1|2"))
    sums.add(memo("hold_c", 2000, "flt_2|economy|1|1"))
    assert sums.count == 3
    (part,) = sums.parts()
    assert part[:8] == ["flt_1", "first", "2", 2, "1000", 2, "1000", "hold_a"]
    assert part[8:16] == ["flt_2", "economy", "1", 1, "2000", 2, "2000", "hold_c"]
    assert part[16:22] == ["flt_2", "economy", "1", 4, "999", 4]
    assert part[22:] == ["1000", "hold_a", "999", "hold_b"]


def test_no_call_is_given_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_batches, "ARGUMENTS_MAX", 12)
    monkeypatch.setattr(load_batches, "HOLDS_MAX", 2)
    sums = ExpiryBatches()
    for number in range(5):
        sums.add(memo(f"hold_{number}", 100 - number, "flt_1|economy|1|3"))
    first, second = sums.parts()
    assert first[:6] + first[10:16] == [
        *["flt_1", "economy", "1", 6, "99", 4],
        *["flt_1", "economy", "1", 6, "97", 4],
    ]
    assert second == ["flt_1", "economy", "1", 3, "96", 2, "96", "hold_4"]


def test_nothing_is_no_call() -> None:
    assert list(ExpiryBatches().parts()) == []
