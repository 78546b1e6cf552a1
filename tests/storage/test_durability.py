"""What was acknowledged is there after the server died without a word."""

from sqlalchemy import text

from app.storage.database import Database, WriteSession
from tests.fixtures.servers import StartPostgres

ROUNDS, COMMITS = 3, 40


async def test_what_was_committed_outlives_a_server_that_is_killed(
    start_postgres: StartPostgres,
) -> None:
    server = await start_postgres(durable=True)
    database = Database(server.url)

    async def create(session: WriteSession) -> None:
        await session.execute(text("CREATE TABLE kept (number int)"))

    async def keep(session: WriteSession) -> None:
        await session.execute(text("INSERT INTO kept VALUES (1)"))

    await database.run_in_transaction(create)
    for done in range(1, ROUNDS + 1):
        for _ in range(COMMITS // 2):
            await database.run_in_transaction(keep)
            await database.run_statement(keep)
        await database.close()
        assert server.child is not None
        await server.child.kill()
        await server.start()
        database = Database(server.url)
        async with database.reading() as session:
            kept = (await session.execute(text("SELECT count(*) FROM kept"))).scalar_one()
        assert kept == done * COMMITS
    await database.close()
