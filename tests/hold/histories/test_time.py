"""Whose clock decides that a hold has run out: only Redis's, read inside the script that asks."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from sqlalchemy import text

from app.dev.postgres import Postgres
from app.hold.errors import HoldExpired, SoldOut
from app.hold.model import HoldStatus, microseconds
from app.hold.redis import keys
from app.hold.repairs.expirer import Expirer
from app.hold.repairs.inventory_sync import InventorySync
from app.hold.repairs.resolver import Resolver
from app.hold.repairs.retention import Retention
from app.hold.repairs.sweeper import Sweeper
from app.ids import FlightId
from app.wiring import Core
from tests.booking.staging import SECOND, clock_passes, is_sold_out, service
from tests.builders.bookings import wanted
from tests.builders.flights import ECONOMY, flight
from tests.builders.holds import DEMO, key, no_offers, request
from tests.fixtures.core import StartCore, sell_from
from tests.hold.histories.steps import hold_one, lose_and_rebuild, on_sale, promise_of

NOW = timedelta(0)
SetClock = Callable[[int], Awaitable[None]]
_CLOCK = text("SELECT clock_timestamp()")


@pytest.fixture
async def set_clock(postgres: Postgres, empty_database: str) -> SetClock:
    """`await set_clock(300)`: whoever asks this database for the time hears it so many seconds ahead."""
    name = empty_database.rpartition("/")[2]

    async def run(*statements: str) -> None:
        connection = await postgres.connect(name)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    await run(
        "CREATE SCHEMA skewed",
        "CREATE TABLE skewed.by AS SELECT interval '0' AS seconds",
        *(
            f"CREATE FUNCTION skewed.{clock}() RETURNS timestamptz VOLATILE LANGUAGE sql AS"
            f" 'SELECT pg_catalog.{clock}() + seconds FROM skewed.by'"
            for clock in ("clock_timestamp", "statement_timestamp", "transaction_timestamp", "now")
        ),
        f'ALTER DATABASE "{name}" SET search_path = skewed, pg_catalog, public',
    )

    async def set_clock(seconds: int) -> None:
        await run(f"UPDATE skewed.by SET seconds = interval '{seconds} seconds'")

    return set_clock


@pytest.mark.parametrize("seconds", [300, -300])
async def test_a_clock_of_postgres_ends_no_hold_and_keeps_none_alive(
    set_clock: SetClock, start_core: StartCore, seconds: int
) -> None:
    """It jumps; everything that looks after holds comes by, and Redis is lost and loaded again."""
    core = await start_core(ttl=3 * SECOND)
    holds = await on_sale(core, 2)
    booked, left = await hold_one(holds), await hold_one(holds)

    async def come_by() -> None:
        await core.repairs[Expirer].run_once()
        await core.repairs[Resolver].run_once(NOW)
        await core.repairs[Sweeper].run_once(NOW)
        await core.repairs[InventorySync].run_once()
        await core.repairs[Retention].run_once()

    await set_clock(seconds)
    async with core.database.reading() as session:
        clock = (await session.execute(_CLOCK)).scalar_one()
    assert abs(clock - core.clock() - seconds * SECOND) < 60 * SECOND
    for hold in (booked, left):
        await core.pins.pin(hold.hold_id)
    await come_by()
    await lose_and_rebuild(core)
    await come_by()

    for hold in (booked, left):
        assert (await promise_of(core, hold.hold_id)).state == "HELD"
        assert (await holds.get(DEMO, hold.hold_id)).status is HoldStatus.ACTIVE
    assert await is_sold_out(holds)
    await service(core).confirm(DEMO, wanted(booked), key())
    await clock_passes(left.expires_at)
    assert not await is_sold_out(holds), "its own time came"
    with pytest.raises(HoldExpired):
        await service(core).confirm(DEMO, wanted(left), key())


async def test_sold_out_is_not_said_while_more_may_have_run_out_than_was_looked_at(
    core: Core,
) -> None:
    """One call takes back two hundred holds; the seat that is asked for is behind them."""
    many, one = FlightId("flt_many"), FlightId("flt_one")
    await sell_from(
        core,
        flight(flight_id=many, classes=[("Y", 200, ECONOMY[0][2])]),
        flight(flight_id=one, flight_number="802", classes=[("Y", 1, ECONOMY[0][2])]),
    )
    holds = core.holds(no_offers)
    for _ in range(200):
        await holds.place(DEMO, request((many, "Y")), key())
    last = (await holds.place(DEMO, request((one, "Y")), key())).value
    await core.redis.set(keys.CLOCK, microseconds(last.expires_at))
    await holds.place(DEMO, request((many, "Y"), (one, "Y")), key())
    with pytest.raises(SoldOut):
        await holds.place(DEMO, request((one, "Y")), key())
