"""Exponential back-off with full jitter.

Every delay up to the bound is equally likely, which spreads callers best after an outage.
"""

from dataclasses import dataclass

_DOUBLINGS_MAX = 32  # keeps the power finite; every bound is reached long before that


@dataclass(frozen=True, slots=True)
class Backoff:
    """The bound starts at `first_seconds`, doubles with each failure and ends at `most_seconds`."""

    first_seconds: float
    most_seconds: float

    def bound_seconds(self, failures: int) -> float:
        assert failures >= 1, "failures are counted from 1"
        doublings = min(failures - 1, _DOUBLINGS_MAX)
        return min(self.most_seconds, self.first_seconds * 2.0**doublings)

    def delay_seconds(self, failures: int, chance: float) -> float:
        """`chance` is a random number from 0 up to 1."""
        return chance * self.bound_seconds(failures)
