"""The HTTP application of one worker: `uvicorn --factory app.main:create`."""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI
from starlette.types import ASGIApp

from app import __version__
from app.clock import Clock, utc_now
from app.dev.data_dir import kept_secret
from app.dev.issuer import dev_issuer_app, dev_keys, dev_profile
from app.errors import ValidationFailed
from app.hold.model import OfferTerms
from app.ids import TenantId
from app.outbox.service import Events
from app.schedule.service import ScheduleService
from app.settings import Settings, SettingsError
from app.telemetry import configure_logging
from app.transport.http.application import create_app
from app.transport.http.paging import Cursors
from app.transport.http.routers.events import events_router
from app.transport.http.routers.flights import flights_router
from app.transport.http.routers.hold import holds_router
from app.wiring import Core, Identity, core_of, identity_of, watching

DEV_ISSUER_PATH = "/dev/oidc"


def create() -> FastAPI:
    settings = Settings.from_environment(os.environ)
    configure_logging(settings.log_level.value)
    return application(settings)


def check(settings: Settings) -> None:
    """Raises SettingsError where `create` would, before any worker is started."""
    signing_keys(settings)
    core_of(settings)
    _identity(settings, utc_now)


def application(settings: Settings, clock: Clock = utc_now) -> FastAPI:
    core = core_of(settings)
    identity = _identity(settings, clock)
    in_dev = settings.serves_dev_identity
    mounts: dict[str, ASGIApp] = {}
    if in_dev:
        mounts[DEV_ISSUER_PATH] = dev_issuer_app(settings.data_dir, dev_issuer_url(settings), clock)

    @asynccontextmanager
    async def life() -> AsyncIterator[None]:
        try:
            async with watching(core):
                yield
        finally:
            await identity.close()
            await core.close()

    return create_app(
        authenticate=identity.verifier.verify,
        routers=_routers(core, signing_keys(settings)),
        checks={"database": core.database.ping, "redis": core.check_hold_store},
        version=__version__,
        mounts=mounts,
        lifespan=life,
        token_url=f"{DEV_ISSUER_PATH}/token" if in_dev else None,
    )


def dev_issuer_url(settings: Settings) -> str:
    return f"http://localhost:{settings.port}{DEV_ISSUER_PATH}"


def signing_keys(settings: Settings) -> list[str]:
    """The first signs. In dev they are drawn once and kept in DATA_DIR."""
    if settings.signing_keys is not None:
        return [key.get_secret_value() for key in settings.signing_keys]
    if not settings.serves_dev_identity:
        raise SettingsError("SIGNING_KEYS: needed where the development identity is off")
    return [kept_secret(settings.data_dir / "signing.key")]


def _identity(settings: Settings, clock: Clock) -> Identity:
    if not settings.serves_dev_identity:
        return identity_of(settings, clock=clock)
    issuer = (dev_profile(dev_issuer_url(settings)), dev_keys(settings.data_dir))
    return identity_of(settings, [issuer], clock)


def _routers(core: Core, keys: Sequence[str]) -> list[APIRouter]:
    cursors = Cursors(keys)
    holds = core.holds(_no_offers)  # until search lands
    schedule = ScheduleService(core.database, core.live, core.clock)
    return [
        holds_router(holds, cursors),
        events_router(Events(core.database), cursors),
        flights_router(schedule, core.clock),
    ]


def _no_offers(_tenant_id: TenantId, _text: str) -> OfferTerms:
    raise ValidationFailed("There is no such offer.")
