"""What has run out is told to the journal, whoever is writing to it at that moment."""

import asyncio
from dataclasses import replace
from datetime import timedelta

from app.dev.postgres import Postgres
from app.hold.journal import store as journal
from app.hold.model import Granted, JournalState
from app.hold.repairs.expirer import Expirer
from app.ids import HoldId
from app.storage.database import WriteSession
from tests.booking.staging import clock_passes
from tests.fixtures.core import StartCore
from tests.hold.histories.steps import hold_one, on_sale, promise_of


async def test_a_promise_written_while_its_end_is_told_ends_too(
    start_core: StartCore, postgres: Postgres, empty_database: str
) -> None:
    """A slow writer is neither overlooked, nor in time to promise what Redis gave away."""
    core = await start_core(ttl=timedelta(seconds=1))
    other = await promise_of(core, (await hold_one(await on_sale(core, 2))).hold_id)
    hold_id, life = HoldId("hold_slow"), await core.epochs.life()
    versions = {line.flight_id: 1 for line in other.lines}
    granted = await life.holds.place(hold_id, hold_id, "r", other.lines, versions)
    assert isinstance(granted, Granted)
    slow = replace(
        other, hold_id=hold_id, granted_at=granted.granted_at, expires_at=granted.expires_at
    )
    written, commit = asyncio.Event(), asyncio.Event()

    async def append(session: WriteSession) -> None:
        assert await journal.append(session, [slow]) == {hold_id}
        written.set()
        await commit.wait()

    writer = asyncio.create_task(core.database.run_in_transaction(append))
    await written.wait()
    await clock_passes(granted.expires_at)
    telling = asyncio.create_task(core.repairs[Expirer].run_once())
    await somebody_waits(postgres, empty_database.rpartition("/")[2])
    commit.set()
    await writer
    await telling
    for hold in (hold_id, other.hold_id):
        assert (await promise_of(core, hold)).state is JournalState.EXPIRED


async def somebody_waits(postgres: Postgres, database: str) -> None:
    connection = await postgres.connect(database)
    try:
        async with asyncio.timeout(1.5):
            while not await connection.fetchval(  # noqa: ASYNC110 - another process is awaited
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            ):
                await asyncio.sleep(0.005)
    finally:
        await connection.close()
