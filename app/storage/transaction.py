"""When a transaction is run again, and the error for an unknown outcome of COMMIT."""

import asyncio
import random

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.errors import DatabaseUnavailable

RERUN_STATES = frozenset({"40001", "40P01"})  # serialization failure, deadlock
LOCK_TIMED_OUT = "55P03"  # another transaction locked the row for longer than lock_timeout
CURED_BY_SPLITTING: tuple[type[Exception], ...] = (DBAPIError,)
"""What a statement for many items may raise because of one of them: a value that the server refuses."""
SHORT_LOCK_TIMEOUT = text("SET LOCAL lock_timeout = '200ms'")
"""First statement of a transaction for many items: none of them waits long for a row that another needs."""
_PAUSE_SECONDS = 0.01


class OutcomeUnknown(DatabaseUnavailable):
    """The connection broke during COMMIT: only a later read shows whether it was committed."""


def sqlstate_of(error: DBAPIError) -> str | None:
    """The server's five-letter state, or None if the error came from the connection itself."""
    state = getattr(error.orig, "sqlstate", None)
    return state if isinstance(state, str) else None


def is_unanswered(error: DBAPIError) -> bool:
    """Whether the statement may have taken effect: the connection ended before the server answered.

    The driver gives a lost connection a state of its own, of class 08.
    """
    state = sqlstate_of(error)
    return state is None or state.startswith("08")


def is_worth_a_rerun(error: DBAPIError) -> bool:
    return sqlstate_of(error) in RERUN_STATES


async def rerun_pause(attempt: int) -> None:
    """Grows with each attempt, and is random, so that the same transactions do not collide again."""
    await asyncio.sleep(_PAUSE_SECONDS * 2**attempt * random.random())  # noqa: S311 - jitter, not a secret
