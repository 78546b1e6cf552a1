"""Delays grow to a bound and are spread over all of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.outbox.retry import Backoff

BACKOFF = Backoff(first_seconds=0.1, most_seconds=2.0)


def test_the_bound_doubles_up_to_its_end() -> None:
    bounds = [BACKOFF.bound_seconds(failures) for failures in range(1, 8)]
    assert bounds == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]


@given(st.integers(1, 10**9), st.floats(0, 1, exclude_max=True))
def test_a_delay_is_anywhere_up_to_the_bound(failures: int, chance: float) -> None:
    delay = BACKOFF.delay_seconds(failures, chance)
    assert 0 <= delay <= BACKOFF.bound_seconds(failures) <= 2.0
    assert BACKOFF.delay_seconds(failures, 0.5) == BACKOFF.bound_seconds(failures) / 2


def test_there_is_no_delay_before_the_first_failure() -> None:
    with pytest.raises(AssertionError):
        BACKOFF.bound_seconds(0)
