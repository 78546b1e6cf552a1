"""Transactions that run again, calls that are cancelled, servers that go away."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from app.errors import DatabaseUnavailable, NotFound
from app.storage.database import Database, WriteSession
from app.storage.durability import NEEDED, UnsafeDatabase
from app.storage.transaction import OutcomeUnknown
from tests.fixtures.servers import StartPostgres

NOTE = text("UPDATE notes SET said = said || :said WHERE id = :id")
SLOW_COMMIT = (
    "CREATE TABLE slow (id int)",
    """CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN PERFORM pg_sleep(2); RETURN NULL; END'""",
    """CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON slow DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION slow()""",
    "INSERT INTO slow VALUES (1)",
)


@pytest.fixture
async def database(empty_database: str) -> AsyncIterator[Database]:
    database = Database(empty_database, pool_size=3)

    async def create(session: WriteSession) -> None:
        await session.execute(text("CREATE TABLE notes (id int PRIMARY KEY, said text NOT NULL)"))
        await session.execute(text("INSERT INTO notes VALUES (1, ''), (2, '')"))

    await database.run_in_transaction(create)
    yield database
    await database.close()


async def said(database: Database, id_: int = 1) -> str:
    async with database.reading() as session:
        row = await session.execute(text("SELECT said FROM notes WHERE id = :id"), {"id": id_})
        return str(row.scalar_one())


async def test_a_deadlock_is_run_again_and_both_are_done(database: Database) -> None:
    meeting, runs = asyncio.Barrier(2), []

    async def crossing(first: int, second: int) -> None:
        async def work(session: WriteSession) -> None:
            runs.append(first)
            await session.execute(NOTE, {"id": first, "said": "x"})
            if len(runs) <= 2:
                await meeting.wait()
            await session.execute(NOTE, {"id": second, "said": "x"})

        await database.run_in_transaction(work)

    await asyncio.gather(crossing(1, 2), crossing(2, 1))
    assert await said(database, 1) == await said(database, 2) == "xx"
    assert len(runs) == 3


async def test_a_refusal_leaves_nothing_behind(database: Database) -> None:
    async def work(session: WriteSession) -> None:
        await session.execute(NOTE, {"id": 1, "said": "x"})
        raise NotFound("no")

    with pytest.raises(NotFound):
        await database.run_in_transaction(work)
    assert await said(database) == ""


async def test_a_single_statement_commits_by_itself(database: Database) -> None:
    async def work(session: WriteSession) -> None:
        await session.execute(NOTE, {"id": 1, "said": "x"})

    await database.run_statement(work)
    assert await said(database) == "x"


async def test_a_cancelled_call_gives_back_no_dirty_connection(database: Database) -> None:
    """Cancelled at any moment, again and again: what others ask is answered, and answered to them."""

    async def slow(session: WriteSession) -> None:
        await session.execute(NOTE, {"id": 2, "said": "y"})
        await session.execute(text("SELECT pg_sleep(0.02), 'slow'"))

    async def ask(number: int) -> int:
        async with database.reading() as session:
            await session.execute(text("SELECT pg_sleep(0.001)"))
            return int((await session.execute(text("SELECT :n"), {"n": str(number)})).scalar_one())

    for round_ in range(40):
        doomed = [asyncio.create_task(database.run_in_transaction(slow)) for _ in range(2)]
        asked = [asyncio.create_task(ask(round_ * 10 + n)) for n in range(4)]
        await asyncio.sleep(round_ / 1500)
        for task in doomed:
            task.cancel()
        assert await asyncio.gather(*asked) == [round_ * 10 + n for n in range(4)]
        await asyncio.gather(*doomed, return_exceptions=True)


async def test_a_full_pool_is_said_in_time(database: Database) -> None:
    small = Database(database._engine.url.render_as_string(hide_password=False), pool_size=1)
    small._engine.pool._timeout = 0.1  # type: ignore[attr-defined] # a queue pool has one
    async with small.reading():
        with pytest.raises(DatabaseUnavailable):
            async with small.reading():
                pass
    await small.close()


async def test_a_commit_without_an_answer_is_neither_done_nor_undone(
    start_postgres: StartPostgres,
) -> None:
    server = await start_postgres()
    database = Database(server.url)
    committing = asyncio.Event()

    async def slow_to_commit(session: WriteSession) -> None:
        for statement in SLOW_COMMIT:
            await session.execute(text(statement))
        committing.set()

    change = asyncio.create_task(database.run_in_transaction(slow_to_commit))
    await committing.wait()
    async with asyncio.timeout(10):
        while True:
            pid = await _backend_in(database, "COMMIT")
            if pid is not None:
                break
            await asyncio.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(OutcomeUnknown):
        await change
    await database.close()


async def test_a_server_that_is_away_is_unavailable_and_comes_back(
    start_postgres: StartPostgres,
) -> None:
    server = await start_postgres(migrated=True)
    database = Database(server.url)
    await database.ping()
    await server.stop()
    for _ in range(3):
        with pytest.raises(DatabaseUnavailable):
            await database.ping()
    await server.start()
    async with asyncio.timeout(10):
        while True:
            try:
                await database.ping()
                break
            except DatabaseUnavailable:
                await asyncio.sleep(0.05)
    await database.close()


async def _backend_in(database: Database, statement: str) -> int | None:
    async with database.reading() as session:
        found = await session.execute(
            text("SELECT pid FROM pg_stat_activity WHERE state = 'active' AND query LIKE :query"),
            {"query": f"{statement}%"},
        )
        pid: int | None = found.scalar_one_or_none()
        return pid


async def test_a_server_that_may_forget_is_not_worked_with(start_postgres: StartPostgres) -> None:
    server = await start_postgres(durable=False)
    database = Database(server.url)
    with pytest.raises(UnsafeDatabase) as refused:
        await database.ping()
    for name in NEEDED:
        assert f"{name}=off" in refused.value.detail
    assert "Set fsync = on, full_page_writes = on, synchronous_commit = on" in refused.value.detail
    await database.close()


@pytest.mark.parametrize("whose", ["ROLE holdfast", "DATABASE holdfast"])
async def test_what_is_set_for_our_role_or_database_is_what_counts(
    start_postgres: StartPostgres, whose: str
) -> None:
    """And what counts is asked of each connection: this one was set while we were at work."""
    server = await start_postgres()
    database = Database(server.url)
    await database.ping()
    keeper = await server.connect()
    await keeper.execute(f"ALTER {whose} SET synchronous_commit = off")
    await keeper.close()
    await database.ping()  # the connection it has was made before
    await database.close()
    with pytest.raises(UnsafeDatabase, match="synchronous_commit=off"):
        await database.ping()
    await database.close()
