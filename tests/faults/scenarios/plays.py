"""The scenarios, each in two sizes: small for the tests, and full as reported."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from tests.faults.scenarios import crash, frozen, lost_store, old_primary
from tests.faults.stores import Persistence

Play = Callable[[Path], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario; its functions return the figures, or raise AssertionError with the loss."""

    summary: str
    small: Play
    full: Play


def _lost(*, restart: bool) -> Scenario:
    play = partial(lost_store.play, restart=restart)
    what = "restarted empty" if restart else "emptied by FLUSHALL"
    return Scenario(
        f"Redis is {what} with 100,000 live holds on 18,000 flights",
        partial(play, flights=40, holds=400, over_http=120, booked=400),
        partial(play, flights=18_000, holds=100_000, over_http=3_000, booked=3_000),
    )


def _crash(persistence: Persistence) -> Scenario:
    play = partial(crash.play, persistence=persistence)
    return Scenario(
        f"PostgreSQL, Redis and every process are killed together under load; {persistence.value}",
        partial(play, seconds=2),
        partial(play, seconds=30),
    )


SCENARIOS: Final[dict[str, Scenario]] = {
    "redis-flushed": _lost(restart=False),
    "redis-restarted-empty": _lost(restart=True),
    "all-killed": _crash(Persistence.APPENDED),
    "all-killed-redis-empty": _crash(Persistence.NONE),
    "frozen": Scenario(
        "a process stops in the middle of a hold, a booking, a rebuild, a relay's batch, and wakes up",
        frozen.play,
        frozen.play,
    ),
    "old-primary": Scenario(
        "an old primary goes on serving half of the processes after a replica took over",
        partial(old_primary.play, seconds=5, flights=150),
        partial(old_primary.play, seconds=40, flights=1500),
    ),
}
