"""What Holdfast is compared with, and Holdfast with coalescing off; each served by benchmarks.serve."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

from fastapi import FastAPI, Response
from starlette.types import ASGIApp

from app.clock import utc_now
from app.hold.model import Hold, HoldStatus
from app.ids import HoldId, TenantId, hold_id
from app.main import serving, signing_keys
from app.settings import Settings
from app.telemetry.logging import configure_logging
from app.transport.http.wire.holds import HoldIn, HoldOut, hold_out
from app.wiring import build_core, services_of, watching
from benchmarks.seeding import a_hold

_TTL = timedelta(minutes=10)


def bare_hold() -> FastAPI:
    """`POST /v1/holds` with the same models, that only makes an id and a time."""
    app = FastAPI()
    numbers = itertools.count(1)
    terms = a_hold()
    shape = Hold(
        HoldId(""),
        HoldStatus.ACTIVE,
        terms.segments,
        terms.passengers,
        terms.price,
        terms.expires_at,
        int(_TTL.total_seconds()),
        terms.expires_at,
        1,
        None,
        None,
        terms.granted_at,
    )

    @app.post("/v1/holds", status_code=201)
    async def place_hold(body: HoldIn, response: Response) -> HoldOut:
        now = utc_now()
        made = replace(
            shape,
            hold_id=hold_id(TenantId("demo"), str(next(numbers)), 1),
            expires_at=now + _TTL,
            price_guaranteed_until=now + _TTL,
            created_at=now,
            client_reference=body.client_reference,
        )
        response.headers["Location"] = f"/v1/holds/{made.hold_id}"
        return hold_out(made)

    return app


def bare_offers(answer: bytes) -> FastAPI:
    """`GET /v1/offers` that returns these bytes."""
    app = FastAPI()

    @app.get("/v1/offers")
    async def search_offers(origin: str, destination: str, departure_date: str) -> Response:
        return Response(answer, media_type="application/json")

    return app


def unshared(settings: Settings) -> ASGIApp:
    """Holdfast in which each hold does its own script call and its own statement."""
    configure_logging(settings.log_level.value)
    assert settings.database_url is not None
    assert settings.redis_url is not None
    core = build_core(
        settings.database_url.get_secret_value(),
        settings.redis_url.get_secret_value(),
        hold_ttl=timedelta(seconds=settings.hold_ttl_seconds),
        batch_max=1,
    )

    @asynccontextmanager
    async def life() -> AsyncIterator[None]:
        try:
            async with watching(core):
                yield
        finally:
            await core.close()

    checks = {"database": core.database.ping, "redis": core.check_hold_store}
    return serving(settings, services_of(core, signing_keys(settings)), checks, life)


class Trivial(asyncio.Protocol):
    """A server that answers anything with nothing: what the load generator itself can do at most."""

    _ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-type: application/json\r\n\r\n{}"

    def __init__(self) -> None:
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(
            self._ANSWER
        )  # one segment is one request, as the generator sends them
