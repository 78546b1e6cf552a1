"""The composition root: settings in, live objects out. The only importer of adapters.

`Core`, in app/wiring/holds.py, is what every role that touches seats is made of. Nothing here decides
anything.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import httpx
import structlog
from pydantic import SecretStr

from app.adapters.log_bus import LogBus
from app.adapters.null_bus import NullBus
from app.adapters.oidc import OidcKeys
from app.booking.service import BookingService
from app.clock import Clock, utc_now
from app.doctor.rules import Deployment
from app.doctor.service import Doctor
from app.errors import DomainError
from app.hold.repairs.reconciler import Reconciler
from app.hold.service import HoldService
from app.identity.keys import CachedKeys, KeySource
from app.identity.profile import IssuerProfile, parse_profiles
from app.identity.verifier import Verifier
from app.ledger.service import LedgerService
from app.outbox.publisher import Publisher
from app.outbox.service import Events
from app.schedule.service import ScheduleService
from app.search.offer_token import OfferTokens
from app.search.service import SearchService
from app.settings import Environment, EventBus, Settings, SettingsError
from app.storage.database import Database
from app.storage.durability import UnsafeDatabase
from app.storage.redis import UNREACHABLE, UnsafeEviction, connect
from app.wiring.holds import Core, build_core, core_on, watching

__all__ = [
    "Core",
    "Identity",
    "Services",
    "build_core",
    "core_of",
    "core_on",
    "database_of",
    "doctor_of",
    "identity_of",
    "publisher_of",
    "refuse_unsafe",
    "services_of",
    "watching",
]

_log = structlog.get_logger(__name__)


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
    search = SearchService(core.database, core.availability, tokens, core.clock, core.background)
    return Services(
        search=search,
        holds=core.holds(tokens.open_offer),
        bookings=BookingService(
            core.database, core.pins, core.availability, core.background, core.clock
        ),
        schedule=ScheduleService(
            core.database, core.availability, core.clock, search.schedule_changed
        ),
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
    deployment = Deployment(
        workers=settings.workers,
        hold_ttl_seconds=settings.hold_ttl_seconds,
        signing_keys=None if keys is None else len(keys),
        serves_dev_identity=settings.serves_dev_identity,
        is_production=settings.environment is Environment.PRODUCTION,
    )
    return Doctor(deployment, head(), core.repairs[Reconciler], core.repair)


def database_of(settings: Settings) -> Database:
    """For a role that needs no seats."""
    return Database(_required(settings.database_url, "DATABASE_URL"))


async def refuse_unsafe(settings: Settings, *, with_holds: bool = True) -> None:
    """Raises SettingsError for a server that answers but may lose what is written to it.

    An unreachable server does not stop the start: each new connection is checked when it is made.
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
        _log.warning(
            "store_unavailable_at_start", check="database", error_type=type(error).__name__
        )
    finally:
        await database.close()


async def _refuse_unsafe_hold_store(settings: Settings) -> None:
    client = connect(_required(settings.redis_url, "REDIS_URL"))
    try:
        await client.ping()
    except UnsafeEviction as error:
        raise SettingsError(f"REDIS_URL: {error}") from error
    except UNREACHABLE as error:
        _log.warning("store_unavailable_at_start", check="redis", error_type=type(error).__name__)
    finally:
        await client.aclose()


def _required(secret: SecretStr | None, name: str) -> str:
    if secret is None:
        raise SettingsError(f"{name}: needed by this role; `holdfast dev` brings its own")
    return secret.get_secret_value()
