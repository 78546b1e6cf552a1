"""Locks under real concurrency: who waits for whom, for how long, and never in a circle."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from app.hold.journal import store as journal
from app.hold.model import JournalEntry
from app.ids import FlightId, HoldId
from app.inventory.model import CabinName, InventoryRow, SeatLine
from app.inventory.store import add_sold, subtract_sold
from app.storage.database import Database, WriteSession
from app.wiring import Core
from tests.booking.conftest import Rows
from tests.booking.staging import execute
from tests.builders.flights import ECONOMY, flight, put_flights
from tests.hold.histories.steps import hold_one, lose_and_rebuild, on_sale, promise_of

APPENDERS = 32
ROUNDS = 6
MANY = 300
SEGMENTS = 40
Step = Callable[[WriteSession, Sequence[SeatLine]], Awaitable[list[InventoryRow] | SeatLine]]
_LOCK_ONE = text("SELECT 1 FROM inventory WHERE flight_id = :flight_id FOR UPDATE")
_WAITING = text("SELECT count(*) FROM pg_locks WHERE NOT granted")


@asynccontextmanager
async def appenders(url: str, epoch: int) -> AsyncIterator[None]:
    """So many that some of them hold the epoch's row at every moment, as long as it is given out."""
    database, stop = Database(url, pool_size=APPENDERS), asyncio.Event()

    async def prove_and_write(session: WriteSession) -> bool:
        if not await journal.prove_epoch(session, epoch):
            return False
        await session.execute(text("SELECT pg_sleep(0.05)"))
        return True

    async def append() -> None:
        while not stop.is_set():
            if not await database.run_in_transaction(prove_and_write):
                await asyncio.sleep(0.005)

    try:
        async with asyncio.TaskGroup() as tasks:
            for number in range(APPENDERS):
                tasks.create_task(append())
                await asyncio.sleep(0.05 / APPENDERS if number else 0)
            yield
            stop.set()
    finally:
        await database.close()


async def test_an_epoch_is_ended_behind_a_crowd_of_appenders(
    core: Core, empty_database: str, rows: Rows
) -> None:
    """A share lock passes an update that waits; without the gate the newcomers would starve it."""
    await hold_one(await on_sale(core, 1))
    epoch = await core.epochs.number()
    async with appenders(empty_database, epoch), asyncio.timeout(10):
        await lose_and_rebuild(core)
    (took,) = await rows(
        "SELECT extract(epoch FROM bumped_at - (SELECT max(granted_at) FROM hold_journal)) AS s"
        " FROM redis_epoch"
    )
    assert await core.epochs.number() == epoch + 1
    assert took["s"] < 8


def many_like(entry: JournalEntry) -> list[JournalEntry]:
    return [
        replace(entry, hold_id=HoldId(f"hold_{number:06}"), idempotency_key=str(number))
        for number in range(MANY)
    ]


@pytest.mark.parametrize("step", ["append", "expire", "abort"])
async def test_batches_in_opposite_orders_do_not_wait_for_each_other_in_a_circle(
    core: Core, empty_database: str, step: str
) -> None:
    """Run as they are: what runs a deadlocked statement again would hide it."""
    entry = await promise_of(core, (await hold_one(await on_sale(core, 1))).hold_id)
    entries = many_like(entry)
    engine = create_async_engine(empty_database, pool_size=4)

    async def write(batch: Sequence[JournalEntry]) -> None:
        async with engine.begin() as connection:
            session = WriteSession(connection)
            ids = [entry.hold_id for entry in batch]
            if step == "append":
                await journal.append(session, batch)
            elif step == "expire":
                await journal.expire(session, ids)
            else:
                await journal.abort_missing(session, entry.epoch, ids)

    try:
        for _ in range(ROUNDS):
            await execute(core, "DELETE FROM hold_journal")
            if step == "expire":
                await write_all(core, entries)
            async with asyncio.TaskGroup() as tasks:
                for _ in range(2):
                    tasks.create_task(write(entries))
                    tasks.create_task(write(entries[::-1]))
    finally:
        await engine.dispose()


async def test_seats_sold_in_opposite_orders_are_locked_in_one(
    core: Core, empty_database: str
) -> None:
    """All of them wait for one row in the middle, and by then each has what it locked before."""
    ids = [FlightId(f"flt_{number:02}") for number in range(SEGMENTS)]
    await put_flights(
        core.database,
        *(flight(flight_id=each, classes=[("Y", 99, ECONOMY[0][2])]) for each in ids),
    )
    there = [SeatLine(each, CabinName.ECONOMY, 1, 1) for each in ids]
    engine = create_async_engine(empty_database, pool_size=5)

    async def move(step: Step, lines: Sequence[SeatLine]) -> None:
        async with engine.begin() as connection:
            assert isinstance(await step(WriteSession(connection), lines), list)

    steps: tuple[Step, ...] = (add_sold, subtract_sold)
    try:
        for step in steps:
            async with engine.connect() as blocker, asyncio.TaskGroup() as tasks:
                await blocker.execute(_LOCK_ONE, {"flight_id": ids[SEGMENTS // 2]})
                for lines in (there, there[::-1]) * 2:
                    tasks.create_task(move(step, lines))
                while (await blocker.execute(_WAITING)).scalar_one() < 4:  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.005)
                await blocker.rollback()
    finally:
        await engine.dispose()


async def write_all(core: Core, entries: Sequence[JournalEntry]) -> None:
    await core.database.run_statement(lambda session: journal.append(session, entries))
