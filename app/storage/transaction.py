"""When a transaction is run again, and what is said when nobody knows whether it was committed."""

import asyncio
import random

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.errors import DatabaseUnavailable

RERUN_STATES = frozenset({"40001", "40P01"})  # serialization failure, deadlock
LOCK_TIMED_OUT = "55P03"  # another transaction kept the row for longer than lock_timeout
CURED_BY_SPLITTING: tuple[type[Exception], ...] = (DBAPIError,)
"""What a statement for many may raise because of one of them: a value the server refuses."""
SHORT_LOCK_TIMEOUT = text("SET LOCAL lock_timeout = '200ms'")
"""First in a transaction for many: none of them waits long for a row that one of them needs."""
_PAUSE_SECONDS = 0.01


class OutcomeUnknown(DatabaseUnavailable):
    """The connection broke while COMMIT was under way: committed or not, only a later read can say."""


def sqlstate_of(error: DBAPIError) -> str | None:
    """The server's five-letter state, or None where the error came from the connection itself."""
    state = getattr(error.orig, "sqlstate", None)
    return state if isinstance(state, str) else None


def is_unanswered(error: DBAPIError) -> bool:
    """Whether the statement may have taken effect: the connection ended before the server said.

    The driver gives a lost connection a state of its own, of class 08.
    """
    state = sqlstate_of(error)
    return state is None or state.startswith("08")


def is_worth_a_rerun(error: DBAPIError) -> bool:
    return sqlstate_of(error) in RERUN_STATES


async def rerun_pause(attempt: int) -> None:
    """Grows with the attempt and differs between neighbours, so that they do not collide again."""
    await asyncio.sleep(_PAUSE_SECONDS * 2**attempt * random.random())  # noqa: S311 - jitter, not a secret
