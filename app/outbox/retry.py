"""How long to wait after a failure: longer each time, up to a bound, and never in step with others.

Full jitter: any moment up to the bound is as likely, which spreads callers best after an outage.
"""

from dataclasses import dataclass

_DOUBLINGS_MAX = 32  # keeps the power finite; every bound is reached long before


@dataclass(frozen=True, slots=True)
class Backoff:
    """The bound starts at `first_seconds`, doubles with each failure and ends at `most_seconds`."""

    first_seconds: float
    most_seconds: float

    def bound_seconds(self, failures: int) -> float:
        assert failures >= 1, "there is nothing to wait for before the first failure"
        doublings = min(failures - 1, _DOUBLINGS_MAX)
        return min(self.most_seconds, self.first_seconds * 2.0**doublings)

    def delay_seconds(self, failures: int, chance: float) -> float:
        """`chance` is a random number from 0 up to 1."""
        return chance * self.bound_seconds(failures)
