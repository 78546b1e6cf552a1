"""Each scenario at its small size; `make faults SCENARIO=…` runs them at full size."""

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
