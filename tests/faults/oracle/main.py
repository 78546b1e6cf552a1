"""The oracle as a process: `python -m tests.faults.oracle.main` with the environment of an API."""

import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import uvicorn
from sqlalchemy import text

from app.booking.service import BookingService
from app.clock import utc_now
from app.concurrency.background import Background
from app.ledger.service import LedgerService
from app.main import serving, signing_keys
from app.outbox.service import Events
from app.schedule.service import ScheduleService
from app.search.offer_token import OfferTokens
from app.search.service import SearchService
from app.settings import Settings
from app.storage.database import WriteSession
from app.telemetry.logging import configure_logging
from app.transport.http.application import Application
from app.wiring import Services, database_of
from tests.faults.oracle.holds import EPOCH, PostgresHolds
from tests.faults.oracle.seats import PostgresPins, PostgresSeats

_OPEN = text(
    "UPDATE redis_epoch SET epoch = :epoch, mode = 'redis', incarnation = 'none' WHERE shard = 0"
)


def create() -> Application:
    settings = Settings.from_environment(os.environ)
    configure_logging(settings.log_level.value)
    database, clock = database_of(settings), utc_now
    seats, pins, background = PostgresSeats(database), PostgresPins(database), Background()
    tokens = OfferTokens(signing_keys(settings))
    services = Services(
        search=SearchService(database, seats, tokens, clock),
        holds=PostgresHolds(
            database, tokens.open_offer, timedelta(seconds=settings.hold_ttl_seconds), clock
        ),
        bookings=BookingService(database, pins, seats, background, clock, batch_max=1),
        schedule=ScheduleService(database, seats, clock),
        ledger=LedgerService(database),
        events=Events(database),
    )

    async def open_epoch(session: WriteSession) -> None:
        """Rows are written under an epoch; here there is one, and it never ends."""
        await session.execute(_OPEN, {"epoch": EPOCH})

    @asynccontextmanager
    async def life() -> AsyncIterator[None]:
        await database.run_in_transaction(open_epoch)
        try:
            yield
        finally:
            await background.drain(5.0)
            await database.close()

    return serving(settings, services, {"database": database.ping}, life, clock)


def main() -> None:
    settings = Settings.from_environment(os.environ)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # raised again once it has drained
    uvicorn.run(
        "tests.faults.oracle.main:create",
        factory=True,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=5,
    )


if __name__ == "__main__":
    main()
