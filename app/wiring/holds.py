"""What every role that touches seats is made of: connections, and the protocol between the two stores.

Nothing here decides anything.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from redis.asyncio import Redis

from app.clock import Clock, utc_now
from app.concurrency.background import Background, repeat
from app.concurrency.coalescer import BATCH_MAX
from app.errors import HoldStoreUnavailable
from app.hold.availability import LiveAvailability
from app.hold.epochs.current import CurrentEpoch, ExpectedIncarnation
from app.hold.epochs.guardian import RecoveryGuardian
from app.hold.extension import Extensions
from app.hold.journal.batched import BatchedJournal
from app.hold.pinning import Pins
from app.hold.placement import OpenOffer, Placement
from app.hold.redis.epochs import RedisEpochs
from app.hold.redis.life import Life
from app.hold.redis.scripts import Scripts
from app.hold.repairs.jobs import RepairJobs, repair_jobs
from app.hold.repairs.reconciler import Reconciler
from app.hold.repairs.repair import Repair
from app.hold.service import HoldService
from app.inventory.catalogue import Catalogue
from app.storage.database import Database
from app.storage.redis import HoldServer

DRAIN_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Core:
    """Connections, and the protocol between the two stores."""

    clock: Clock
    database: Database
    redis: Redis
    journal: BatchedJournal
    extensions: Extensions
    epochs_in_redis: RedisEpochs
    epochs: CurrentEpoch
    guardian: RecoveryGuardian
    repairs: RepairJobs
    repair: Repair
    pins: Pins
    availability: LiveAvailability
    catalogue: Catalogue
    background: Background

    def holds(self, open_offer: OpenOffer) -> HoldService:
        """`open_offer` reads signed offers; search, which signs them, stands above holds."""
        placement = Placement(
            self.database,
            self.journal,
            self.availability,
            self.epochs,
            self.catalogue,
            open_offer,
            self.clock,
        )
        return HoldService(
            self.database,
            self.journal,
            self.extensions,
            self.epochs,
            self.pins,
            placement,
            self.background,
        )

    async def check_hold_store(self) -> None:
        """For readiness: the present epoch is open in Redis."""

        async def check(life: Life) -> None:
            if await self.epochs_in_redis.open_number() != life.number:
                raise HoldStoreUnavailable

        await self.epochs.run(check)

    async def close(self) -> None:
        await self.background.drain(DRAIN_SECONDS)
        await self.guardian.close()
        await self.redis.aclose()
        await self.database.close()


def build_core(
    database_url: str,
    redis_url: str,
    *,
    hold_ttl: timedelta,
    clock: Clock = utc_now,
    batch_max: int = BATCH_MAX,
) -> Core:
    """`batch_max` is how much of concurrent requests is done together; 1: each by itself."""
    return core_on(
        Database(database_url),
        HoldServer(redis_url),
        hold_ttl=hold_ttl,
        clock=clock,
        who=uuid.uuid4().hex,
        batch_max=batch_max,
    )


def core_on(
    database: Database,
    server: HoldServer,
    *,
    hold_ttl: timedelta,
    clock: Clock,
    who: str,
    batch_max: int = BATCH_MAX,
) -> Core:
    """`who` names this process among all that use the two."""
    incarnation = ExpectedIncarnation()
    redis = server.connect(incarnation.get)
    epochs_in_redis = RedisEpochs(Scripts(redis, batch_max=batch_max), hold_ttl)
    epochs = CurrentEpoch(database, epochs_in_redis, incarnation)
    pins = Pins(database, epochs)
    guardian = RecoveryGuardian(database, server, redis, epochs, hold_ttl, clock, who)
    jobs = repair_jobs(database, epochs, pins, clock)
    return Core(
        clock=clock,
        database=database,
        redis=redis,
        journal=BatchedJournal(database, batch_max=batch_max),
        extensions=Extensions(database, clock, batch_max=batch_max),
        epochs_in_redis=epochs_in_redis,
        epochs=epochs,
        guardian=guardian,
        repairs=jobs,
        repair=Repair(database, epochs, pins, jobs[Reconciler], guardian),
        pins=pins,
        availability=LiveAvailability(database, epochs),
        catalogue=Catalogue(database, batch_max=batch_max),
        background=Background(),
    )


@asynccontextmanager
async def watching(core: Core) -> AsyncIterator[None]:
    """Run the recovery guardian and the repair jobs until the end of the block."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(core.guardian.watch(stop), name="guardian")
        cancelled_at_shutdown = []
        for job in core.repairs:
            passes = repeat(job.name, job.work.run_once, job.every_seconds, stop)
            task = tasks.create_task(passes, name=job.name)
            if job.is_cancelled_at_shutdown:
                cancelled_at_shutdown.append(task)
        try:
            yield
        finally:
            stop.set()
            for task in cancelled_at_shutdown:
                task.cancel()
