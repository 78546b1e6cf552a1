"""A booking on its way, and what may come between: other parties, time, lost answers, crashes.

Everything is the real thing; what is added only says when something else happens.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any, TypeVar

import pytest
from sqlalchemy import text

from app.booking.model import draw_locator
from app.booking.service import BookingService
from app.clock import utc_now
from app.concurrency.background import Background
from app.dev.postgres import Postgres
from app.errors import DatabaseUnavailable
from app.hold.errors import SoldOut
from app.hold.model import Hold, MemoState
from app.hold.pinning import PinProof, Pins
from app.hold.service import HoldService
from app.idempotency.model import IdempotencyKey
from app.ids import FlightId, HoldId
from app.inventory.model import CabinCounts, CabinName
from app.storage.database import Database, WriteSession
from app.storage.transaction import OutcomeUnknown
from app.wiring import Core
from tests.booking.conftest import Rows
from tests.builders.bookings import wanted
from tests.builders.flights import ECONOMY, flight
from tests.builders.holds import DEMO, key, no_offers, request
from tests.fixtures.core import sell_from

T = TypeVar("T")
Step = Callable[[], Awaitable[None]]
SECOND = timedelta(seconds=1)
LAST_SEAT = flight(flight_id="flt_last", classes=[("Y", 1, ECONOMY[0][2])])


class Interrupted(Pins):
    """The real claims; once, right before or after the pin, something else happens."""

    def __init__(self, core: Core, before: Step | None, after: Step | None) -> None:
        super().__init__(core.database, core.epochs)
        self._before, self._after = before, after

    async def pin(self, hold_id: HoldId) -> PinProof:
        before, after = self._before, self._after
        self._before = self._after = None
        if before is not None:
            await before()
        proof = await super().pin(hold_id)
        if after is not None:
            await after()
        return proof


class Crashed(Background):
    """The process ended right after the commit: nothing of the background ever ran."""

    async def start(self, name: str, work: Coroutine[Any, Any, Any]) -> None:
        work.close()


class Forgetful(Database):
    """Once, the answer to COMMIT is lost: after it was done, or before it could be."""

    def __init__(self, url: str, *, commits: bool) -> None:
        super().__init__(url)
        self._commits = commits
        self._is_due = True

    async def run_in_transaction(self, work: Callable[[WriteSession], Awaitable[T]]) -> T:
        if not self._is_due:
            return await super().run_in_transaction(work)
        self._is_due = False
        if self._commits:
            await super().run_in_transaction(work)
        raise OutcomeUnknown


def service(
    core: Core,
    *,
    before_pin: Step | None = None,
    after_pin: Step | None = None,
    database: Database | None = None,
    background: Background | None = None,
) -> BookingService:
    return BookingService(
        database or core.database,
        Interrupted(core, before_pin, after_pin),
        core.availability,
        background or core.background,
        core.clock,
        draw_locator,
    )


async def last_seat(core: Core) -> tuple[HoldService, Hold]:
    """The only seat of a flight, held."""
    await sell_from(core, LAST_SEAT)
    holds = core.holds(no_offers)
    return holds, (await holds.place(DEMO, request(("flt_last", "Y")), key())).value


async def numbers(core: Core, flight_id: str = "flt_last") -> CabinCounts:
    (found,) = await core.availability.counts([(FlightId(flight_id), CabinName.ECONOMY)])
    assert found is not None
    return found


async def is_sold_out(holds: HoldService) -> bool:
    try:
        await holds.place(DEMO, request(("flt_last", "Y")), key())
    except SoldOut:
        return True
    return False


async def clock_passes(instant: datetime) -> None:
    while utc_now() <= instant:  # noqa: ASYNC110 - time itself is awaited
        await asyncio.sleep((instant - utc_now()).total_seconds() + 0.001)


async def fail_half_way(
    core: Core, postgres: Postgres, database_url: str, hold: Hold, same: IdempotencyKey
) -> None:
    """A booking that has its key, its journal row and its booking, and loses the database then."""
    other = await postgres.connect(database_url.rpartition("/")[2])
    try:
        async with other.transaction():
            await other.execute("SELECT 1 FROM inventory FOR UPDATE")
            booking = asyncio.create_task(service(core).confirm(DEMO, wanted(hold), same))
            while not await other.fetchval(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            ):
                assert not booking.done()
                await other.execute("SELECT pg_stat_clear_snapshot()")
                await asyncio.sleep(0.005)
            with pytest.raises(DatabaseUnavailable):
                await booking
    finally:
        await other.close()


async def memo_of(core: Core, hold: Hold) -> MemoState:
    life = await core.epochs.life()
    return (await life.holds.read_memos([hold.hold_id]))[hold.hold_id].state


async def nothing_was_left(rows: Rows) -> bool:
    found = [await rows(f"SELECT 1 FROM {table}") for table in ("bookings", "booking_passengers")]
    found += [await rows(f"SELECT 1 FROM {table}") for table in ("outbox", "idempotency_records")]
    sold = await rows("SELECT 1 FROM inventory WHERE sold_total <> 0")
    return not any(found) and not sold


async def execute(core: Core, statement: str) -> None:
    async def execute(session: WriteSession) -> None:
        await session.execute(text(statement))

    await core.database.run_in_transaction(execute)
