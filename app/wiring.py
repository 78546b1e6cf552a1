"""The composition root: settings in, live objects out. The only importer of adapters.

`Core` is what every role that touches seats is made of; `Services` is what the transport calls. Nothing
here decides anything.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from redis.asyncio import Redis

from app.background import Background
from app.clock import Clock, utc_now
from app.hold.claim import Claims
from app.hold.epoch import EpochKeeper
from app.hold.expirer import Expirer
from app.hold.live import LiveInventory
from app.hold.placement import OpenOffer, Placement
from app.hold.rebuild import Guardian
from app.hold.service import HoldService
from app.hold.store import HoldStore
from app.inventory.catalogue import Catalogue
from app.storage.database import Database
from app.storage.redis import connect

DRAIN_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Core:
    """Connections, and the protocol between the two stores."""

    clock: Clock
    database: Database
    redis: Redis
    store: HoldStore
    epochs: EpochKeeper
    guardian: Guardian
    expirer: Expirer
    claims: Claims
    live: LiveInventory
    catalogue: Catalogue
    background: Background

    def holds(self, open_offer: OpenOffer) -> HoldService:
        placement = Placement(
            self.database, self.store, self.epochs, self.catalogue, open_offer, self.clock
        )
        return HoldService(
            self.database, self.store, self.epochs, self.claims, placement, self.clock
        )

    async def close(self) -> None:
        await self.background.drain(DRAIN_SECONDS)
        await self.guardian.close()
        await self.redis.aclose()
        await self.database.close()


def build_core(
    database_url: str, redis_url: str, *, hold_ttl: timedelta, clock: Clock = utc_now
) -> Core:
    database = Database(database_url)
    epochs = EpochKeeper(database)
    redis = connect(redis_url, epochs.expected_incarnation)
    store = HoldStore(redis, hold_ttl)
    return Core(
        clock=clock,
        database=database,
        redis=redis,
        store=store,
        epochs=epochs,
        guardian=Guardian(database, redis_url, redis, epochs, hold_ttl, clock),
        expirer=Expirer(database, store, epochs),
        claims=Claims(database, store, epochs),
        live=LiveInventory(store, epochs),
        catalogue=Catalogue(database),
        background=Background(),
    )


@asynccontextmanager
async def watching(core: Core) -> AsyncIterator[None]:
    """Keeps the hold store open and takes back what runs out, until the end of the block."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(core.guardian.watch(stop), name="guardian")
        tasks.create_task(core.expirer.run(stop), name="expirer")
        try:
            yield
        finally:
            stop.set()
