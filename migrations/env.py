"""Where Alembic meets the tables: imports every feature's tables, so that a change cannot be missed."""

import asyncio
import os

from alembic import context
from sqlalchemy import Connection, pool
from sqlalchemy.ext.asyncio import create_async_engine

import app.booking.tables
import app.hold.journal.tables
import app.idempotency.tables
import app.inventory.tables
import app.outbox.tables  # noqa: F401 - imported for their registration
from app.settings import Settings
from app.storage.metadata import metadata


def _database_url() -> str:
    given = context.config.attributes.get("database_url")
    if given is not None:
        return str(given)
    url = Settings.from_environment(os.environ).database_url
    if url is None:
        raise SystemExit("DATABASE_URL: required to migrate")
    return url.get_secret_value()


def _run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata, compare_server_default=True)
    with context.begin_transaction():
        context.run_migrations()


async def _migrate() -> None:
    engine = create_async_engine(_database_url(), poolclass=pool.NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(_run)
        await connection.commit()
    await engine.dispose()


asyncio.run(_migrate())
