"""The registry of repair jobs: each is one module with a `run_once`, and one row here.

Every process that serves runs them all, each at its interval. So a pass must be bounded, and safe at any
time, in several processes at once and after a crash in the middle. A pass that fails is logged and tried
again at the next interval.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

from app.clock import Clock
from app.hold.epochs.current import CurrentEpoch
from app.hold.pinning import Pins
from app.hold.repairs.ceilings import CeilingReducer
from app.hold.repairs.expirer import Expirer
from app.hold.repairs.inventory_sync import InventorySync
from app.hold.repairs.key_filter import IdempotencyKeyFilter
from app.hold.repairs.reconciler import Reconciler
from app.hold.repairs.resolver import Resolver
from app.hold.repairs.retention import Retention
from app.hold.repairs.sweeper import Sweeper
from app.storage.database import Database


class RunsOnce(Protocol):
    async def run_once(self) -> object:
        """Make one bounded pass."""


Work = TypeVar("Work", bound=RunsOnce)


@dataclass(frozen=True, slots=True)
class Job:
    name: str  # of its task, and in the log
    every_seconds: float  # between the end of a pass and the begin of the next
    work: RunsOnce
    is_cancelled_at_shutdown: bool = False  # a long pass; nothing is lost if it ends in the middle


class RepairJobs:
    """All jobs, in the order in which they start; one of them by its class: `jobs[Sweeper]`."""

    def __init__(self, *jobs: Job) -> None:
        self._jobs = jobs

    def __iter__(self) -> Iterator[Job]:
        return iter(self._jobs)

    def __getitem__(self, kind: type[Work]) -> Work:
        for job in self._jobs:
            if isinstance(job.work, kind):
                return job.work
        raise KeyError(kind.__name__)


def repair_jobs(database: Database, epochs: CurrentEpoch, pins: Pins, clock: Clock) -> RepairJobs:
    return RepairJobs(
        Job("expirer", 0.5, Expirer(database, epochs)),
        Job("resolver", 1, Resolver(pins, epochs)),
        Job("sweeper", 1, Sweeper(database, epochs)),
        Job("inventory_sync", 1, InventorySync(database, epochs)),
        Job("ceiling_reducer", 5, CeilingReducer(database, epochs)),
        Job("retention", 600, Retention(database, clock)),
        Job("reconciler", 60, Reconciler(database, epochs, clock), is_cancelled_at_shutdown=True),
        Job("key_filter", 1, IdempotencyKeyFilter(database, epochs), is_cancelled_at_shutdown=True),
    )
