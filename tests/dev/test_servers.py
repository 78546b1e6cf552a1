"""The fixtures that give every other test its servers."""

import asyncpg
import redis.asyncio


def _plain(url: str) -> str:
    return url.replace("+asyncpg", "")


async def test_an_empty_database_is_migrated_and_alone(
    empty_database: str, postgres_url: str
) -> None:
    assert empty_database != postgres_url
    for url in (empty_database, postgres_url):
        connection = await asyncpg.connect(_plain(url), ssl=False)
        assert await connection.fetchval("SELECT count(*) FROM alembic_version") == 1
        await connection.close()


async def test_a_blank_database_has_no_table(blank_database: str) -> None:
    connection = await asyncpg.connect(_plain(blank_database), ssl=False)
    found = await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
    await connection.close()
    assert found == 0


async def test_an_empty_redis_is_not_the_shared_one(empty_redis: str, redis_url: str) -> None:
    async with redis.asyncio.Redis.from_url(redis_url) as shared:
        await shared.set("test-servers", "1")
        async with redis.asyncio.Redis.from_url(empty_redis) as own:
            assert await own.dbsize() == 0
        await shared.delete("test-servers")
