"""Connections to the database: bounded in number and in time, with two kinds of session.

A `ReadSession` reads; a store that writes takes a `WriteSession`. A session is one connection inside one
transaction. Every failure of the connection becomes `DatabaseUnavailable`; a connection on which a call was
cancelled is closed and never reused. A server that may lose what it committed is refused: the settings are
read on each new connection, because the server may start later than this process or restart with others.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import asyncpg
from sqlalchemy import CursorResult, Executable, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from app.errors import DatabaseUnavailable, LockTimedOut
from app.storage.durability import QUERY, UnsafeDatabase, unsafe_settings
from app.storage.transaction import (
    LOCK_TIMED_OUT,
    OutcomeUnknown,
    is_unanswered,
    is_worth_a_rerun,
    rerun_pause,
    sqlstate_of,
)

T = TypeVar("T")

POOL_SIZE = 10
POOL_WAIT_SECONDS = 3.0
CONNECT_SECONDS = 2.0
COMMAND_SECONDS = 3.0
RERUNS_MAX = 4
SERVER_SETTINGS = {
    "application_name": "holdfast",
    "timezone": "UTC",
    "statement_timeout": "2500",
    "lock_timeout": "2000",
    "idle_in_transaction_session_timeout": "2000",
    "jit": "off",  # statements are short; compiling one costs more than running it
    # A plan made while a table was empty is kept until the server next analyses the table. It would read
    # every row inserted meanwhile although there is an index; or collect and sort a whole index although
    # the query needs its first rows in its own order.
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
}
_SELECT_ONE = text("SELECT 1")
_MAY_IDLE = text("SET LOCAL idle_in_transaction_session_timeout = '15s'")
_BROKEN: tuple[type[Exception], ...] = (
    TimeoutError,
    OSError,
    PoolTimeout,
    asyncpg.PostgresError,  # SQLAlchemy does not translate the driver's errors at connect
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # of a connection that is about to be closed by the server
)
# States of the server that are temporary: lock and statement timeouts, too many connections, shutting
# down, starting up, out of resources.
_TEMPORARY = ("55P03", "57014", "57P", "53", "08", "25P03")


class ReadSession:
    """One connection inside one transaction, for reading."""

    __slots__ = ("_connection",)

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        """Runs one statement, or runs it once for each of a list of parameters."""
        return await self._connection.execute(statement, parameters)


class WriteSession(ReadSession):
    """A session whose transaction commits when its `run_in_transaction` returns."""

    __slots__ = ()


class Database:
    def __init__(self, url: str, *, pool_size: int = POOL_SIZE) -> None:
        self._engine: AsyncEngine = create_async_engine(
            url,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=POOL_WAIT_SECONDS,
            pool_use_lifo=True,  # keeps few connections warm where a few are enough
            pool_pre_ping=False,
            isolation_level="READ COMMITTED",
            connect_args={
                "timeout": CONNECT_SECONDS,
                "command_timeout": COMMAND_SECONDS,
                "server_settings": SERVER_SETTINGS,
                "async_creator_fn": _connect,
            },
        )
        self._autocommit = self._engine.execution_options(
            isolation_level="AUTOCOMMIT"
        )  # the same pool

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[ReadSession]:
        """Each statement is a transaction of its own: one round trip each, and no COMMIT."""
        async with _translated(), self._connection(self._autocommit) as connection:
            yield ReadSession(connection)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[ReadSession]:
        """One state of the database for a read of many pages: REPEATABLE READ, read only.

        It holds no lock that a writer waits for, so a reader may pause between pages.
        """
        async with _translated(), self._connection(self._engine) as connection:
            await connection.execution_options(isolation_level="REPEATABLE READ")
            await connection.execute(_MAY_IDLE)
            yield ReadSession(connection)
            await connection.rollback()

    async def run_in_transaction(self, work: Callable[[WriteSession], Awaitable[T]]) -> T:
        """Runs `work` in one transaction and commits it before returning.

        On a serialization failure or a deadlock (40001, 40P01) the whole of `work` runs again, so it
        must change nothing outside its session. Raises DatabaseUnavailable when nothing was committed, and
        OutcomeUnknown when the connection broke during COMMIT.
        """
        return await self._with_reruns(lambda: self._run_once(work))

    async def run_statement(self, work: Callable[[WriteSession], Awaitable[T]]) -> T:
        """Like `run_in_transaction`, for work that is a single statement and so commits by itself.

        A process that stops in the middle leaves no transaction open. Raises OutcomeUnknown if the
        connection broke after the statement was sent.
        """
        return await self._with_reruns(lambda: self._run_autocommit(work))

    async def close(self) -> None:
        await self._engine.dispose()

    async def ping(self) -> None:
        async with self.reading() as session:
            await session.execute(_SELECT_ONE)

    async def _with_reruns(self, run: Callable[[], Awaitable[T]]) -> T:
        for attempt in range(1, RERUNS_MAX + 1):
            try:
                return await run()
            except DBAPIError as error:
                if attempt == RERUNS_MAX or not is_worth_a_rerun(error):
                    raise _unavailable_or(error) from error
                await rerun_pause(attempt)
        raise AssertionError("unreachable")

    async def _run_autocommit(self, work: Callable[[WriteSession], Awaitable[T]]) -> T:
        sending = False
        try:
            async with self._connection(self._autocommit) as connection:
                sending = True
                return await work(WriteSession(connection))
        except DBAPIError as error:
            if sending and is_unanswered(error):
                raise OutcomeUnknown from error
            raise
        except _BROKEN as error:
            raise (OutcomeUnknown if sending else DatabaseUnavailable) from error

    async def _run_once(self, work: Callable[[WriteSession], Awaitable[T]]) -> T:
        committing = False
        try:
            async with self._connection(self._engine) as connection:
                result = await work(WriteSession(connection))
                committing = True
                await connection.commit()
                committing = False
                return result
        except DBAPIError as error:
            if committing and is_unanswered(error):
                raise OutcomeUnknown from error
            raise
        except _BROKEN as error:
            raise (OutcomeUnknown if committing else DatabaseUnavailable) from error

    @asynccontextmanager
    async def _connection(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        connection = await engine.connect()
        try:
            yield connection
        except Exception:
            await connection.close()  # rolls back
            raise
        except BaseException:  # cancelled: an answer may still be on its way
            await connection.invalidate()
            await connection.close()
            raise
        else:
            await connection.close()


async def _connect(*address: Any, **settings: Any) -> asyncpg.Connection:
    connection = await asyncpg.connect(*address, **settings)
    try:
        unsafe = unsafe_settings(await connection.fetchrow(QUERY))
    except BaseException:
        connection.terminate()
        raise
    if unsafe:
        await connection.close()
        raise UnsafeDatabase(unsafe)
    return connection


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    try:
        yield
    except DBAPIError as error:
        raise _unavailable_or(error) from error
    except _BROKEN as error:
        raise DatabaseUnavailable from error


def _unavailable_or(error: DBAPIError) -> Exception:
    state = sqlstate_of(error)
    if state == LOCK_TIMED_OUT:
        return LockTimedOut()
    if state is not None:
        return DatabaseUnavailable() if state.startswith(_TEMPORARY) else error
    if isinstance(error, (OperationalError, InterfaceError)) or error.connection_invalidated:
        return DatabaseUnavailable()
    if isinstance(error.orig, (TimeoutError, OSError)) or "connection" in str(error.orig).lower():
        return DatabaseUnavailable()
    return error
