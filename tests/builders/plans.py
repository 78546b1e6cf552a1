"""Counts the rows of a table that the statements of this transaction have read, by the server's statistics."""

from sqlalchemy import text

from app.storage.database import WriteSession

BEFORE_A_PLAN_IS_KEPT = 10  # runs; PostgreSQL makes a new plan in each of the first five
_READ_SO_FAR = text(
    """
    SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables
    WHERE relname = :name
    """
)


async def rows_read(session: WriteSession, table: str) -> int:
    return int((await session.execute(_READ_SO_FAR, {"name": table})).scalar_one())
