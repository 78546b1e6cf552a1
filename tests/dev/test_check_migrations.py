"""The check that `make check` runs sees a table that no migration makes."""

import sqlalchemy

from app.dev.check_migrations import differences
from app.storage.metadata import metadata


async def test_the_migrations_are_in_step_with_the_tables() -> None:
    assert await differences() is None


async def test_a_table_without_a_migration_is_named() -> None:
    forgotten = sqlalchemy.Table("forgotten", metadata, sqlalchemy.Column("id", sqlalchemy.Integer))
    try:
        found = await differences()
    finally:
        metadata.remove(forgotten)
    assert found is not None
    assert "forgotten" in found
