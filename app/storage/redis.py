"""Connections to Redis: bounded, never retried by the client, and to the expected incarnation only.

redis-py would send a script again up to ten times when an answer is late. Here every call is sent once, and
the caller decides on another try with the same id. Each connection reads the server's *incarnation* (run id
and replication id), because older data always has another one. It does so when it is made, and again before
it is used after a second, because a server may be demoted, resynchronised or set to evict keys while a
connection stays open.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

CONNECTIONS_MAX = 32
POOL_WAIT_SECONDS = 1.0
CONNECT_SECONDS = 1.0
ANSWER_SECONDS = 1.0
CHECKED_FOR_SECONDS = 1.0  # a check of the incarnation is valid so long

UNREACHABLE: tuple[type[Exception], ...] = (RedisError, OSError, TimeoutError, RuntimeError)
"""What a call may raise when the server is unreachable, late or refuses; its effect is unknown.

RuntimeError is uvloop's for a connection that was lost since the client last looked at it.
"""

ExpectedIncarnation = Callable[[], str | None]
Check = Callable[[AbstractConnection], Awaitable[None]]
_LOST: Final = (RedisConnectionError, ConnectionError, RuntimeError)
_SECTIONS: Final = ("server", "replication", "memory")


class WrongIncarnation(RedisConnectionError):
    """The server behind the connection is not the one that has the data of the current epoch."""


class UnsafeEviction(RedisConnectionError):
    """The server may drop keys when memory is short, and a dropped key is a lost hold."""

    def __init__(self, policy: str) -> None:
        super().__init__(
            f"Redis runs with maxmemory-policy {policy}: it may drop holds when memory is short. "
            "Set maxmemory-policy noeviction."
        )


def connect(url: str, expected: ExpectedIncarnation = lambda: None) -> Redis:
    """A client whose connections refuse any incarnation but `expected()` (None: any)."""

    async def check(connection: AbstractConnection) -> None:
        incarnation = await _incarnation_behind(connection)
        wanted = expected()
        if wanted is not None and incarnation != wanted:
            raise WrongIncarnation("Redis was restarted or replaced")

    async def make(connection: AbstractConnection) -> None:
        await connection.on_connect()
        await check(connection)

    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS_MAX,
        timeout=POOL_WAIT_SECONDS,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=ANSWER_SECONDS,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        redis_connect_func=make,
    )
    pool.connection_class = _CHECKED_CLASS[pool.connection_class]
    pool.connection_kwargs["check"] = check
    return Redis.from_pool(pool)


class HoldServer:
    """Opens connections to Redis: the protocol knows no more of its address."""

    def __init__(self, url: str) -> None:
        self._url = url

    def connect(self, expected: ExpectedIncarnation = lambda: None) -> Redis:
        return connect(self._url, expected)

    async def reconnect(self, client: Redis) -> None:
        await reconnect(client)


async def incarnation_of(client: Redis) -> str:
    """The server's present incarnation, read on a pooled connection."""
    server: dict[str, Any] = await client.info("server")
    replication: dict[str, Any] = await client.info("replication")
    return f"{server['run_id']}:{replication['master_replid']}"


async def reconnect(client: Redis) -> None:
    """Replaces and checks every connection: idle ones now, others when they return to the pool.

    A connection in use is left alone: closed in the middle of a command, it would fail in unpredictable ways.
    """
    pool = client.connection_pool
    await pool.update_active_connections_for_reconnect()  # type: ignore[no-untyped-call] # untyped in redis-py
    for connection in tuple(pool._available_connections):
        if connection in pool._available_connections:  # not taken while another was closed
            await connection.disconnect(nowait=True)


class _Checked(AbstractConnection):
    """Checks the incarnation again when it is taken from the pool after CHECKED_FOR_SECONDS."""

    def __init__(self, *, check: Check, **settings: Any) -> None:
        super().__init__(**settings)
        self._check = check
        self._checked_at = -CHECKED_FOR_SECONDS

    async def connect(self) -> None:
        """Called by the pool before it returns a connection."""
        if self.is_connected and _now() - self._checked_at < CHECKED_FOR_SECONDS:
            return
        try:
            if self.is_connected:
                await self._check(self)
        except (WrongIncarnation, UnsafeEviction):
            await self.disconnect(nowait=True)
            raise
        except _LOST:  # lost while idle: the connection made in its place is checked too
            await self.disconnect(nowait=True)
        except BaseException:
            await self.disconnect(nowait=True)
            raise
        await super().connect()  # type: ignore[no-untyped-call] # untyped in redis-py
        self._checked_at = _now()


class _CheckedConnection(_Checked, Connection):
    pass


class _CheckedSSLConnection(_Checked, SSLConnection):
    pass


_CHECKED_CLASS: Final[dict[type[AbstractConnection], type[AbstractConnection]]] = {
    Connection: _CheckedConnection,
    SSLConnection: _CheckedSSLConnection,
}


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _incarnation_behind(connection: AbstractConnection) -> str:
    fields: dict[str, str] = {}
    for section in _SECTIONS:
        await connection.send_command("INFO", section)
    for _ in _SECTIONS:
        answer = await connection.read_response()
        for line in bytes(answer).decode().splitlines():
            name, _, value = line.partition(":")
            fields[name] = value
    if fields.get("maxmemory_policy", "noeviction") != "noeviction":
        raise UnsafeEviction(fields["maxmemory_policy"])
    if fields.get("role") != "master":
        raise WrongIncarnation("Redis is a replica")
    return f"{fields['run_id']}:{fields['master_replid']}"
