"""Two clocks, and what one says about the other.

The hold store's clock is known only from answers: a hold's `created_at` was read between the first delivery
of its request and its acknowledgement. That clock never goes back, over all epochs, so that each grant bounds
it for every other time of the runner's clock, whatever their difference. Durations are compared as well,
within the tolerance, only if the terms say that no clock was moved.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from math import inf

from tests.faults.checker.model import Terms
from tests.faults.history import Operation

Grant = tuple[float, float, int, Operation]
"""First delivery invoked, acknowledged, `created_at`, and the operation with that answer."""


class StoreClock:
    def __init__(self, terms: Terms) -> None:
        self._tolerance = None if terms.clocks_moved else terms.clock_tolerance_seconds
        self._answered_at: list[float] = []
        self._at_least: list[int] = []
        self._stamps: list[int] = []
        self._asked: list[float] = []
        self._witnesses: list[Operation] = []
        self._answered: list[float] = []

    def learn(self, grants: Iterable[Grant]) -> None:
        known = list(grants)
        by_answer = sorted(known, key=lambda grant: grant[1])
        self._answered_at = [grant[1] for grant in by_answer]
        self._at_least = list(accumulate((grant[2] for grant in by_answer), max))
        by_stamp = sorted(known, key=lambda grant: grant[2])
        self._stamps = [grant[2] for grant in by_stamp]
        last: list[tuple[float, Operation]] = []
        for invoked, _, _, operation in by_stamp:
            if not last or invoked > last[-1][0]:
                last.append((invoked, operation))
            else:
                last.append(last[-1])
        self._asked = [invoked for invoked, _ in last]
        self._witnesses = [operation for _, operation in last]
        backwards = accumulate((grant[1] for grant in reversed(by_stamp)), min)
        self._answered = list(backwards)[::-1]

    def at_least(self, moment: float) -> int:
        """What the hold store's clock had certainly reached when the runner's showed `moment`."""
        index = bisect_right(self._answered_at, moment)
        return self._at_least[index - 1] if index else 0

    def before_until(self, stamp: int) -> tuple[float, Operation | None]:
        """The last time at which that clock was certainly before `stamp`, and the grant that shows it."""
        index = bisect_left(self._stamps, stamp)
        return (self._asked[index - 1], self._witnesses[index - 1]) if index else (-inf, None)

    def reached_from(self, stamp: int, since: float, since_stamp: int) -> float:
        """The first time at which that clock had certainly reached `stamp`; inf if nothing shows it.

        At `since` of the runner's clock it had reached `since_stamp`.
        """
        index = bisect_left(self._stamps, stamp)
        moment = self._answered[index] if index < len(self._answered) else inf
        if self._tolerance is None:
            return moment
        return min(moment, since + (stamp - since_stamp) / 1_000_000 + self._tolerance)

    def certainly_before(
        self, stamp: int, since: float, since_stamp: int
    ) -> tuple[float, Operation | None]:
        """The last time at which that clock had certainly not reached `stamp`, and what shows it.

        At `since` it had not yet passed `since_stamp`, so that a clock that was not moved cannot be further.
        """
        last, witness = self.before_until(stamp)
        if self._tolerance is None:
            return last, witness
        counted = since + (stamp - since_stamp) / 1_000_000 - self._tolerance
        return (counted, None) if counted > last else (last, witness)


class Quiet:
    """The times at which nothing was broken and all repairs were done."""

    def __init__(self, faults: Sequence[tuple[float, float]], repair_seconds: float) -> None:
        self._repair = repair_seconds
        self._windows: list[tuple[float, float]] = []
        for start, end in sorted(faults):
            if self._windows and start <= self._windows[-1][1]:
                self._windows[-1] = (self._windows[-1][0], max(self._windows[-1][1], end))
            else:
                self._windows.append((start, end))
        self._starts = [start for start, _ in self._windows]

    def during(self, start: float, end: float) -> bool:
        """Whether no fault and no repair overlaps the time between the two."""
        index = bisect_right(self._starts, end)
        return index == 0 or self._windows[index - 1][1] + self._repair < start

    def after(self, moment: float) -> float:
        """The first time after `moment` by which the repairs have had their whole time without a fault."""
        done = moment + self._repair
        for start, end in self._windows[max(0, bisect_right(self._starts, moment) - 1) :]:
            if end < moment:
                continue
            if start > done:
                break
            done = max(done, end + self._repair)
        return done
