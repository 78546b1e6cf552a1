"""The HTTP application of one worker: `uvicorn --factory app.main:create`."""

import gc
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import date

from app import __version__
from app.clock import Clock, utc_now
from app.dev.data_dir import kept_secret
from app.dev.example import example_flight
from app.dev.issuer import dev_issuer_app, dev_keys, dev_profile
from app.settings import Settings, SettingsError
from app.telemetry.logging import configure_logging
from app.transport.http.application import Application, create_app
from app.transport.http.openapi.examples import DAYS_AHEAD, Examples, examples_of
from app.transport.http.pipeline.dependencies import CURSORS
from app.transport.http.routers import booking, events, flights, hold, ledger, search
from app.transport.http.routers.health import Check
from app.transport.http.wire.cursors import Cursors
from app.wiring import Identity, Services, core_of, identity_of, services_of, watching

DEV_ISSUER_PATH = "/dev/oidc"
_GC_THRESHOLDS = (
    20_000,
    20,
    20,
)  # new objects; young, then middle collections, before the next older one


def create() -> Application:
    settings = Settings.from_environment(os.environ)
    configure_logging(settings.log_level.value)
    return application(settings)


def check(settings: Settings) -> None:
    """Raises SettingsError if `create` would, before any worker is started."""
    signing_keys(settings)
    core_of(settings)
    _identity(settings, utc_now)


def application(settings: Settings, clock: Clock = utc_now) -> Application:
    core = core_of(settings, clock)

    @asynccontextmanager
    async def life() -> AsyncIterator[None]:
        try:
            async with watching(core):
                _freeze_gc()
                yield
        finally:
            await core.close()

    services = services_of(core, signing_keys(settings))
    checks = {"database": core.database.ping, "redis": core.check_hold_store}
    return serving(settings, services, checks, life, clock)


def serving(
    settings: Settings,
    services: Services,
    checks: Mapping[str, Check],
    life_of_services: Callable[[], AbstractAsyncContextManager[None]],
    clock: Clock = utc_now,
) -> Application:
    """The application that serves these services; `life_of_services` lasts as long as it serves."""
    cursors = Cursors(signing_keys(settings))
    identity = _identity(settings, clock)

    @asynccontextmanager
    async def life() -> AsyncIterator[None]:
        try:
            async with life_of_services():
                yield
        finally:
            await identity.close()

    in_dev = settings.serves_dev_identity
    issuer_url = dev_issuer_url(settings)
    return create_app(
        authenticate=identity.verifier.verify,
        routers=[module.router for module in (search, hold, booking, events, flights, ledger)],
        services=[
            CURSORS.given(cursors),
            search.SEARCH.given(services.search),
            search.OFFER_PAGES.given(search.OfferPages(services.search, cursors)),
            hold.HOLDS.given(services.holds),
            booking.BOOKINGS.given(services.bookings),
            events.EVENTS.given(services.events),
            flights.SCHEDULE.given(services.schedule),
            ledger.LEDGER.given(services.ledger),
        ],
        checks=checks,
        version=__version__,
        mounts={DEV_ISSUER_PATH: dev_issuer_app(settings.data_dir, issuer_url, clock)}
        if in_dev
        else {},
        lifespan=life,
        token_url=f"{DEV_ISSUER_PATH}/token" if in_dev else None,
        demo_client="demo" if in_dev else None,
        examples_on=examples_on,
        clock=clock,
    )


def _freeze_gc() -> None:
    """Excludes the objects of the start from garbage collection, which would scan them again and again.

    That took a third of a busy worker's time, with pauses of a tenth of a second.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)


def examples_on(day: date) -> Examples:
    """Examples about a flight of the sample network, so that they succeed there unchanged."""
    return examples_of(example_flight(day + DAYS_AHEAD), day)


def dev_issuer_url(settings: Settings) -> str:
    return f"http://localhost:{settings.port}{DEV_ISSUER_PATH}"


def signing_keys(settings: Settings) -> list[str]:
    """The first key signs. In dev one is generated once and kept in DATA_DIR."""
    if settings.signing_keys is not None:
        return [key.get_secret_value() for key in settings.signing_keys]
    if not settings.serves_dev_identity:
        raise SettingsError("SIGNING_KEYS: required if DEV_IDENTITY is off")
    return [kept_secret(settings.data_dir / "signing.key")]


def _identity(settings: Settings, clock: Clock) -> Identity:
    if not settings.serves_dev_identity:
        return identity_of(settings, clock=clock)
    issuer = (dev_profile(dev_issuer_url(settings)), dev_keys(settings.data_dir))
    return identity_of(settings, [issuer], clock)
