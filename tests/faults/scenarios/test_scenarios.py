"""Each great loss, at a size for every run; `make faults SCENARIO=…` plays them as they are reported."""

import tempfile
from pathlib import Path

import pytest

from tests.faults.scenarios.plays import SCENARIOS


@pytest.mark.parametrize("name", SCENARIOS)
async def test_nothing_is_lost_and_nothing_is_sold_twice(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with tempfile.TemporaryDirectory(prefix="hf-", ignore_cleanup_errors=True) as folder:
        result = await SCENARIOS[name].small(Path(folder))
    with capsys.disabled():
        print(f"\n{name}: {result}")
