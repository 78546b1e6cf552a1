"""The composition root: settings in, live objects out. The only importer of adapters.

`Core` is what every role that touches seats is made of. Nothing here decides anything.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import httpx
import structlog
from pydantic import SecretStr
from redis.asyncio import Redis

from app.adapters.log_bus import LogBus
from app.adapters.null_bus import NullBus
from app.adapters.oidc import OidcKeys
from app.background import Background, repeat
from app.booking.service import BookingService
from app.clock import Clock, utc_now
from app.doctor.rules import Deployment
from app.doctor.service import Doctor
from app.errors import DomainError, HoldStoreUnavailable
from app.hold import expirer, resolver, retention, sweeper, sync, tighten
from app.hold.claim import Claims
from app.hold.epoch import EpochKeeper
from app.hold.epoch_store import EpochStore
from app.hold.expirer import Expirer
from app.hold.extension import Extensions
from app.hold.inspection import Inspection
from app.hold.live import LiveInventory
from app.hold.placement import OpenOffer, Placement
from app.hold.rebuild import Guardian
from app.hold.reconciler import EVERY_SECONDS, Reconciler
from app.hold.repair import Repair
from app.hold.resolver import Resolver
from app.hold.retention import Retention
from app.hold.scripts import Scripts
from app.hold.seats import SeatStore
from app.hold.service import HoldService
from app.hold.shared_journal import SharedJournal
from app.hold.store import HoldStore
from app.hold.sweeper import Sweeper
from app.hold.sync import Sync
from app.hold.tighten import Tightener
from app.identity.keys import CachedKeys, KeySource
from app.identity.profile import IssuerProfile, parse_profiles
from app.identity.verifier import Verifier
from app.inventory.catalogue import Catalogue
from app.ledger.service import LedgerService
from app.outbox.publisher import Publisher
from app.outbox.service import Events
from app.schedule.service import ScheduleService
from app.search.offer_token import OfferTokens
from app.search.service import SearchService
from app.settings import Environment, EventBus, Settings, SettingsError
from app.storage.coalesce import BATCH_MAX
from app.storage.database import Database
from app.storage.durability import UnsafeDatabase
from app.storage.redis import UNREACHABLE, HoldServer, UnsafeEviction, connect

_log = structlog.get_logger(__name__)

DRAIN_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Core:
    """Connections, and the protocol between the two stores."""

    clock: Clock
    database: Database
    redis: Redis
    store: HoldStore
    promises: SharedJournal
    extensions: Extensions
    seats: SeatStore
    epoch_store: EpochStore
    epochs: EpochKeeper
    guardian: Guardian
    expirer: Expirer
    resolver: Resolver
    sweeper: Sweeper
    sync: Sync
    tightener: Tightener
    reconciler: Reconciler
    repair: Repair
    retention: Retention
    claims: Claims
    live: LiveInventory
    catalogue: Catalogue
    background: Background

    def holds(self, open_offer: OpenOffer) -> HoldService:
        """`open_offer` reads signed offers; search, which signs them, stands above holds."""
        placement = Placement(
            self.database,
            self.store,
            self.promises,
            self.live,
            self.epochs,
            self.catalogue,
            open_offer,
            self.clock,
        )
        return HoldService(
            self.database,
            self.store,
            self.promises,
            self.extensions,
            self.epochs,
            self.claims,
            placement,
            self.background,
        )

    async def check_hold_store(self) -> None:
        """For readiness: the present epoch is open in Redis."""

        async def check(epoch: int) -> None:
            if await self.epoch_store.open_epoch_number() != epoch:
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
    epochs = EpochKeeper(database)
    redis = server.connect(epochs.expected_incarnation)
    scripts = Scripts(redis, batch_max=batch_max)
    store, seats = HoldStore(scripts, hold_ttl), SeatStore(scripts)
    claims, epoch_store = Claims(database, store, epochs), EpochStore(scripts)
    inspection = Inspection(scripts)
    guardian = Guardian(database, server, redis, epochs, hold_ttl, clock, who)
    reconciler = Reconciler(database, inspection, epochs, clock)
    return Core(
        clock=clock,
        database=database,
        redis=redis,
        store=store,
        promises=SharedJournal(database, batch_max=batch_max),
        extensions=Extensions(database, clock, batch_max=batch_max),
        seats=seats,
        epoch_store=epoch_store,
        epochs=epochs,
        guardian=guardian,
        expirer=Expirer(database, store, epochs),
        sweeper=Sweeper(database, store, epochs),
        sync=Sync(database, seats, epochs),
        tightener=Tightener(database, seats, epochs),
        reconciler=reconciler,
        repair=Repair(
            database, store, epoch_store, inspection, epochs, claims, reconciler, guardian
        ),
        retention=Retention(database, clock),
        claims=claims,
        resolver=Resolver(claims, store, epochs),
        live=LiveInventory(database, seats, epochs),
        catalogue=Catalogue(database),
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
            ("sync", core.sync.once, sync.EVERY_SECONDS),
            ("tightener", core.tightener.once, tighten.EVERY_SECONDS),
            ("retention", core.retention.once, retention.EVERY_SECONDS),
        ):
            tasks.create_task(repeat(name, work, every_seconds, stop), name=name)
        comparing = tasks.create_task(
            repeat("reconciler", core.reconciler.once, EVERY_SECONDS, stop), name="reconciler"
        )
        try:
            yield
        finally:
            stop.set()
            comparing.cancel()  # it waits for long, and changes nothing


def core_of(settings: Settings, clock: Clock = utc_now) -> Core:
    """For a process that serves or loads; raises SettingsError where an address is missing."""
    return build_core(
        _required(settings.database_url, "DATABASE_URL"),
        _required(settings.redis_url, "REDIS_URL"),
        hold_ttl=timedelta(seconds=settings.hold_ttl_seconds),
        clock=clock,
    )


@dataclass(frozen=True, slots=True)
class Services:
    """What transports call."""

    search: SearchService
    holds: HoldService
    bookings: BookingService
    schedule: ScheduleService
    ledger: LedgerService
    events: Events


def services_of(core: Core, signing_keys: Sequence[str]) -> Services:
    tokens = OfferTokens(signing_keys)
    search = SearchService(core.database, core.live, tokens, core.clock, core.background)
    return Services(
        search=search,
        holds=core.holds(tokens.open_offer),
        bookings=BookingService(core.database, core.claims, core.live, core.background, core.clock),
        schedule=ScheduleService(core.database, core.live, core.clock, search.schedule_changed),
        ledger=LedgerService(core.database),
        events=Events(core.database),
    )


@dataclass(frozen=True, slots=True)
class Identity:
    """The verifier, and what it keeps open."""

    verifier: Verifier
    keys: Sequence[CachedKeys]
    http: httpx.AsyncClient

    async def close(self) -> None:
        for keys in self.keys:
            await keys.aclose()
        await self.http.aclose()


def identity_of(
    settings: Settings, more: Sequence[tuple[IssuerProfile, KeySource]] = (), clock: Clock = utc_now
) -> Identity:
    """`more` are issuers whose keys need no fetching: the development issuer."""
    try:
        profiles = parse_profiles(settings.oidc_issuers)
    except ValueError as error:
        raise SettingsError(str(error)) from error
    if not profiles and not more:
        raise SettingsError("OIDC_ISSUERS: at least one issuer is needed where DEV_IDENTITY is off")
    http = httpx.AsyncClient(trust_env=False, follow_redirects=False)
    keys = [CachedKeys(OidcKeys(profile, http).fetch) for profile in profiles]
    issuers = [*zip(profiles, keys, strict=True), *more]
    return Identity(Verifier(issuers, clock=clock), keys, http)


def publisher_of(settings: Settings) -> Publisher:
    """Raises SettingsError where the bus chosen lacks something."""
    match settings.event_bus:
        case EventBus.EVENTBRIDGE:
            # Here, because AWS's library takes half a second to load, and only a relay needs it.
            from app.adapters.eventbridge import EventBridge

            try:
                return EventBridge(
                    settings.event_bus_name,
                    region=settings.aws_region,
                    endpoint_url=settings.aws_endpoint_url,
                    max_bytes=settings.event_bus_max_bytes,
                )
            except ValueError as error:
                raise SettingsError(f"EVENT_BUS=eventbridge: {error}") from error
        case EventBus.LOG:
            return LogBus()
        case EventBus.NULL:
            return NullBus()


def doctor_of(settings: Settings, core: Core) -> Doctor:
    # Here, because what migrates takes long to load, and no other role needs it.
    from app.storage.migrations import head

    keys = settings.signing_keys
    chosen = Deployment(
        workers=settings.workers,
        hold_ttl_seconds=settings.hold_ttl_seconds,
        signing_keys=None if keys is None else len(keys),
        serves_dev_identity=settings.serves_dev_identity,
        is_production=settings.environment is Environment.PRODUCTION,
    )
    return Doctor(chosen, head(), core.reconciler, core.repair)


def database_of(settings: Settings) -> Database:
    """For a role that needs no seats."""
    return Database(_required(settings.database_url, "DATABASE_URL"))


async def refuse_unsafe(settings: Settings, *, with_holds: bool = True) -> None:
    """Raises SettingsError for a server that answers and may lose what it is given.

    One that is away stops no start: every new connection is judged when it comes.
    """
    checks = [_refuse_unsafe_database(settings)]
    if with_holds:
        checks.append(_refuse_unsafe_hold_store(settings))
    await asyncio.gather(*checks)


async def _refuse_unsafe_database(settings: Settings) -> None:
    database = database_of(settings)
    try:
        await database.ping()
    except UnsafeDatabase as error:
        raise SettingsError(f"DATABASE_URL: {error.detail}") from error
    except DomainError as error:
        _log.warning("away_at_start", check="database", error_type=type(error).__name__)
    finally:
        await database.close()


async def _refuse_unsafe_hold_store(settings: Settings) -> None:
    client = connect(_required(settings.redis_url, "REDIS_URL"))
    try:
        await client.ping()
    except UnsafeEviction as error:
        raise SettingsError(f"REDIS_URL: {error}") from error
    except UNREACHABLE as error:
        _log.warning("away_at_start", check="redis", error_type=type(error).__name__)
    finally:
        await client.aclose()


def _required(secret: SecretStr | None, name: str) -> str:
    if secret is None:
        raise SettingsError(f"{name}: needed by this role; `holdfast dev` brings its own")
    return secret.get_secret_value()
