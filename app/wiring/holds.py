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
from app.hold.epochs.current import CurrentEpoch
from app.hold.epochs.guardian import RecoveryGuardian
from app.hold.extension import Extensions
from app.hold.journal.batched import BatchedJournal
from app.hold.pinning import Claims
from app.hold.placement import OpenOffer, Placement
from app.hold.redis.epochs import RedisEpochs
from app.hold.redis.holds import RedisHolds
from app.hold.redis.inspection import Inspection
from app.hold.redis.scripts import Scripts
from app.hold.redis.seats import RedisSeats
from app.hold.repairs import (
    ceilings,
    expirer,
    inventory_sync,
    key_filter,
    reconciler,
    resolver,
    retention,
    sweeper,
)
from app.hold.repairs.ceilings import CeilingReducer
from app.hold.repairs.expirer import Expirer
from app.hold.repairs.inventory_sync import InventorySync
from app.hold.repairs.key_filter import IdempotencyKeyFilter
from app.hold.repairs.reconciler import Reconciler
from app.hold.repairs.repair import Repair
from app.hold.repairs.resolver import Resolver
from app.hold.repairs.retention import Retention
from app.hold.repairs.sweeper import Sweeper
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
    holds_in_redis: RedisHolds
    journal: BatchedJournal
    extensions: Extensions
    seats_in_redis: RedisSeats
    epochs_in_redis: RedisEpochs
    epochs: CurrentEpoch
    guardian: RecoveryGuardian
    expirer: Expirer
    resolver: Resolver
    sweeper: Sweeper
    key_filter: IdempotencyKeyFilter
    inventory_sync: InventorySync
    ceilings: CeilingReducer
    reconciler: Reconciler
    repair: Repair
    retention: Retention
    pins: Claims
    availability: LiveAvailability
    catalogue: Catalogue
    background: Background

    def holds(self, open_offer: OpenOffer) -> HoldService:
        """`open_offer` reads signed offers; search, which signs them, stands above holds."""
        placement = Placement(
            self.database,
            self.holds_in_redis,
            self.journal,
            self.availability,
            self.epochs,
            self.catalogue,
            open_offer,
            self.clock,
        )
        return HoldService(
            self.database,
            self.holds_in_redis,
            self.journal,
            self.extensions,
            self.epochs,
            self.pins,
            placement,
            self.background,
        )

    async def check_hold_store(self) -> None:
        """For readiness: the present epoch is open in Redis."""

        async def check(epoch: int) -> None:
            if await self.epochs_in_redis.open_epoch_number() != epoch:
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
    epochs = CurrentEpoch(database)
    redis = server.connect(epochs.expected_incarnation)
    scripts = Scripts(redis, batch_max=batch_max)
    store, seats = RedisHolds(scripts, hold_ttl), RedisSeats(scripts)
    claims, epoch_store = Claims(database, store, epochs), RedisEpochs(scripts)
    inspection = Inspection(scripts)
    guardian = RecoveryGuardian(database, server, redis, epochs, hold_ttl, clock, who)
    comparison = Reconciler(database, inspection, epochs, clock)
    return Core(
        clock=clock,
        database=database,
        redis=redis,
        holds_in_redis=store,
        journal=BatchedJournal(database, batch_max=batch_max),
        extensions=Extensions(database, clock, batch_max=batch_max),
        seats_in_redis=seats,
        epochs_in_redis=epoch_store,
        epochs=epochs,
        guardian=guardian,
        expirer=Expirer(database, store, epochs),
        sweeper=Sweeper(database, store, epochs),
        key_filter=IdempotencyKeyFilter(database, scripts, epochs),
        inventory_sync=InventorySync(database, seats, epochs),
        ceilings=CeilingReducer(database, seats, epochs),
        reconciler=comparison,
        repair=Repair(
            database, store, epoch_store, inspection, epochs, claims, comparison, guardian
        ),
        retention=Retention(database, clock),
        pins=claims,
        resolver=Resolver(claims, store, epochs),
        availability=LiveAvailability(database, seats, epochs),
        catalogue=Catalogue(database, batch_max=batch_max),
        background=Background(),
    )


@asynccontextmanager
async def watching(core: Core) -> AsyncIterator[None]:
    """Keeps the hold store open and true to the journal, until the end of the block."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(core.guardian.watch(stop), name="guardian")
        for name, work, every_seconds in (
            ("expirer", core.expirer.once, expirer.EVERY_SECONDS),
            ("resolver", core.resolver.once, resolver.EVERY_SECONDS),
            ("sweeper", core.sweeper.once, sweeper.EVERY_SECONDS),
            ("sync", core.inventory_sync.once, inventory_sync.EVERY_SECONDS),
            ("tightener", core.ceilings.once, ceilings.EVERY_SECONDS),
            ("retention", core.retention.once, retention.EVERY_SECONDS),
        ):
            tasks.create_task(repeat(name, work, every_seconds, stop), name=name)
        long = [
            tasks.create_task(repeat(name, work, every_seconds, stop), name=name)
            for name, work, every_seconds in (
                ("reconciler", core.reconciler.once, reconciler.EVERY_SECONDS),
                ("marker", core.key_filter.once, key_filter.EVERY_SECONDS),
            )
        ]
        try:
            yield
        finally:
            stop.set()
            for task in long:  # nothing is lost where it ends in the middle
                task.cancel()
