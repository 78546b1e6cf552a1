"""Bookings that are overtaken by time, or break off half way: nothing is lost, nothing is leaked."""

import asyncio
from datetime import timedelta

import pytest

from app.dev.postgres import Postgres
from app.errors import DatabaseUnavailable
from app.hold.errors import HoldExpired, SoldOut
from app.hold.model import HoldStatus, MemoState
from app.hold.repairs.expirer import Expirer
from app.hold.repairs.resolver import Resolver
from app.hold.service import HoldService
from app.wiring import Core
from tests.booking.conftest import SOUTH, Counts, Place, Rows
from tests.booking.staging import (
    SECOND,
    Crashed,
    Forgetful,
    clock_passes,
    execute,
    fail_half_way,
    is_sold_out,
    last_seat,
    memo_of,
    nothing_was_left,
    numbers,
    service,
)
from tests.builders.bookings import wanted
from tests.builders.holds import DEMO, key
from tests.fixtures.core import StartCore


async def test_a_hold_that_ran_out_is_not_booked_and_its_seat_is_free(
    start_core: StartCore, rows: Rows
) -> None:
    core = await start_core(ttl=SECOND)
    holds, hold = await last_seat(core)
    await clock_passes(hold.expires_at)
    with pytest.raises(HoldExpired):
        await service(core).confirm(DEMO, wanted(hold), key())
    assert await rows("SELECT state FROM hold_journal") == [{"state": "EXPIRED"}]
    assert await nothing_was_left(rows)
    assert not await is_sold_out(holds)
    with pytest.raises(HoldExpired):
        await service(core).confirm(DEMO, wanted(hold), key())


async def test_a_hold_whose_time_passes_while_its_booking_waits_is_booked_and_nobody_elses(
    start_core: StartCore, postgres: Postgres, empty_database: str
) -> None:
    core = await start_core(ttl=SECOND)
    holds, hold = await last_seat(core)
    blocker = await postgres.connect(empty_database.rpartition("/")[2])
    try:
        async with blocker.transaction():
            await blocker.execute("SELECT 1 FROM inventory FOR UPDATE")
            booking = asyncio.create_task(service(core).confirm(DEMO, wanted(hold), key()))
            await clock_passes(hold.expires_at)
            await core.repairs[Expirer].run_once()
            assert await is_sold_out(holds)
            assert not booking.done()
        booked = (await booking).value
    finally:
        await blocker.close()
    assert booked.hold_id == hold.hold_id
    await core.background.drain(5)
    assert await is_sold_out(holds)
    now = await numbers(core)
    assert (now.sold, now.held) == ((1,), (0,))


async def test_after_a_failure_the_hold_is_live_and_ends_on_its_own_time(
    start_core: StartCore, postgres: Postgres, empty_database: str, rows: Rows
) -> None:
    core = await start_core(ttl=2 * SECOND)
    holds, hold = await last_seat(core)

    await fail_half_way(core, postgres, empty_database, hold, key())

    await core.background.drain(5)
    assert await memo_of(core, hold) is MemoState.HELD
    assert (await holds.get(DEMO, hold.hold_id)).status is HoldStatus.ACTIVE
    assert await nothing_was_left(rows)
    assert await is_sold_out(holds)
    await clock_passes(hold.expires_at)
    assert not await is_sold_out(holds)


async def test_after_a_failure_the_same_request_books(
    core: Core, place: Place, counts: Counts, postgres: Postgres, empty_database: str
) -> None:
    hold, same = await place(), key()
    await fail_half_way(core, postgres, empty_database, hold, same)
    answered = await service(core).confirm(DEMO, wanted(hold), same)
    assert not answered.replayed
    assert (await counts()).sold == (1, 0)


async def test_a_crash_after_the_commit_leaves_the_seat_taken_and_settling_repairs(
    start_core: StartCore, rows: Rows
) -> None:
    core = await start_core(ttl=SECOND)
    holds, hold = await last_seat(core)
    same = key()
    first = await service(core, background=Crashed()).confirm(DEMO, wanted(hold), same)

    assert await memo_of(core, hold) is MemoState.PINNED
    await clock_passes(hold.expires_at)
    await core.repairs[Expirer].run_once()
    assert await is_sold_out(holds)
    assert (await holds.get(DEMO, hold.hold_id)).status is HoldStatus.BOOKED
    again = await service(core).confirm(DEMO, wanted(hold), same)
    assert (again.value, again.replayed) == (first.value, True)

    assert await core.repairs[Resolver].run_once(timedelta(0)) == 1

    now = await numbers(core)
    assert (now.sold, now.held) == ((1,), (0,))
    assert await memo_of(core, hold) is MemoState.SOLD
    assert await is_sold_out(holds)


async def test_an_answer_lost_on_commit_is_found_out_again(
    core: Core, place: Place, counts: Counts, empty_database: str, rows: Rows
) -> None:
    hold = await place()
    database = Forgetful(empty_database, commits=True)
    try:
        answered = await service(core, database=database).confirm(DEMO, wanted(hold), key())
    finally:
        await database.close()
    assert not answered.replayed
    assert len(await rows("SELECT 1 FROM bookings")) == len(await rows("SELECT 1 FROM outbox")) == 1
    now = await counts()
    assert (now.sold, now.held) == ((1, 0), (0, 0))


async def test_a_commit_that_never_arrived_is_told_as_such_and_the_hold_lives(
    core: Core, holds: HoldService, place: Place, empty_database: str, rows: Rows
) -> None:
    hold, same = await place(), key()
    database = Forgetful(empty_database, commits=False)
    try:
        with pytest.raises(DatabaseUnavailable):
            await service(core, database=database).confirm(DEMO, wanted(hold), same)
    finally:
        await database.close()
    assert await nothing_was_left(rows)
    await core.background.drain(5)
    assert await memo_of(core, hold) is MemoState.HELD
    assert not (await service(core).confirm(DEMO, wanted(hold), same)).replayed


async def test_a_cancellation_lost_on_commit_is_asked_again(
    core: Core, place: Place, counts: Counts, empty_database: str, rows: Rows
) -> None:
    booked = (await service(core).confirm(DEMO, wanted(await place()), key())).value
    database = Forgetful(empty_database, commits=True)
    try:
        answered = await service(core, database=database).cancel(DEMO, booked.booking_id, key())
    finally:
        await database.close()
    assert (answered.value.version, answered.replayed) == (2, False)
    assert (await counts()).sold == (0, 0)
    assert len(await rows("SELECT 1 FROM outbox")) == 2


async def test_a_repeated_cancellation_lost_on_commit_is_still_a_replay(
    core: Core, place: Place, empty_database: str
) -> None:
    booked = (await service(core).confirm(DEMO, wanted(await place()), key())).value
    same = key()
    first = await service(core).cancel(DEMO, booked.booking_id, same)
    database = Forgetful(empty_database, commits=True)
    try:
        again = await service(core, database=database).cancel(DEMO, booked.booking_id, same)
    finally:
        await database.close()
    assert (again.value, again.replayed) == (first.value, True)


async def test_seats_that_are_gone_after_all_stop_the_booking_whole(
    core: Core, holds: HoldService, place: Place, rows: Rows
) -> None:
    """It takes a fault in the protocol to get here; the guard in Postgres does not depend on it."""
    hold = await place((SOUTH, "M"), ("flt_north", "Y"), adults=2)
    await execute(
        core,
        "UPDATE inventory SET sold = '{0,5}', sold_total = 5 WHERE flight_id = 'flt_south'",
    )
    with pytest.raises(SoldOut) as refused:
        await service(core).confirm(DEMO, wanted(hold), key())
    facts = refused.value.violations[0].facts
    assert (facts["flight_id"], facts["booking_class"], facts["requested"]) == (SOUTH, "M", 2)
    assert await rows("SELECT 1 FROM bookings UNION ALL SELECT 1 FROM outbox") == []
    assert await rows("SELECT 1 FROM idempotency_records") == []
    (north,) = await rows("SELECT sold_total FROM inventory WHERE flight_id = 'flt_north'")
    assert north["sold_total"] == 0
    await core.background.drain(5)
    assert (await holds.get(DEMO, hold.hold_id)).status is HoldStatus.ACTIVE
