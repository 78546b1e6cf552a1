"""The connection to the hold store: bounded, never retried by the client, and aware of whose data it sees.

redis-py would send a script again up to ten times when an answer is late; here every call is sent
once, and whoever calls decides about another try with the same id. Each connection learns the
server's *incarnation* (run id and replication id), because old data always comes with another one:
when it is made, and again before it is used after a second, as a server may be demoted, resynced or
set to evict under a connection that lives on.
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
JUDGED_FOR_SECONDS = 1.0  # what a connection was found to lead to is believed so long

UNREACHABLE: tuple[type[Exception], ...] = (RedisError, OSError, TimeoutError, RuntimeError)
"""What a call may raise when the server is away, late or refuses; the effect of the call is unknown.

RuntimeError is uvloop's for a connection that was lost since the client last looked at it.
"""

ExpectedIncarnation = Callable[[], str | None]
Judge = Callable[[AbstractConnection], Awaitable[None]]
_LOST: Final = (RedisConnectionError, ConnectionError, RuntimeError)
_SECTIONS: Final = ("server", "replication", "memory")


class WrongIncarnation(RedisConnectionError):
    """The server behind a new connection is not the one that holds the current epoch."""


class UnsafeEviction(RedisConnectionError):
    """The server may drop keys when memory is short, and a dropped key is a lost hold."""

    def __init__(self, policy: str) -> None:
        super().__init__(
            f"Redis runs with maxmemory-policy {policy}: it may drop holds when memory is short. "
            "Set maxmemory-policy noeviction."
        )


def connect(url: str, expected: ExpectedIncarnation = lambda: None) -> Redis:
    """A client whose connections refuse any incarnation but `expected()` (None: any)."""

    async def judge(connection: AbstractConnection) -> None:
        incarnation = await _incarnation_behind(connection)
        wanted = expected()
        if wanted is not None and incarnation != wanted:
            raise WrongIncarnation("the hold store was restarted or replaced")

    async def make(connection: AbstractConnection) -> None:
        await connection.on_connect()
        await judge(connection)

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
    pool.connection_class = _JUDGED[pool.connection_class]
    pool.connection_kwargs["judge"] = judge
    return Redis.from_pool(pool)


class HoldServer:
    """What opens connections to the hold store: all that the protocol knows of where it is."""

    def __init__(self, url: str) -> None:
        self._url = url

    def connect(self, expected: ExpectedIncarnation = lambda: None) -> Redis:
        return connect(self._url, expected)

    async def reconnect(self, client: Redis) -> None:
        await reconnect(client)


async def incarnation_of(client: Redis) -> str:
    """The server's present incarnation, asked on a pooled connection."""
    server: dict[str, Any] = await client.info("server")
    replication: dict[str, Any] = await client.info("replication")
    return f"{server['run_id']}:{replication['master_replid']}"


async def reconnect(client: Redis) -> None:
    """Every connection is made, and judged, anew: an idle one now, another when it is given back.

    One in use is left alone: taken away in the middle of a command it fails in no known way.
    """
    pool = client.connection_pool
    await pool.update_active_connections_for_reconnect()  # type: ignore[no-untyped-call] # as it came
    for connection in tuple(pool._available_connections):
        if connection in pool._available_connections:  # not taken while another was let go
            await connection.disconnect(nowait=True)


class _Judged(AbstractConnection):
    """Is asked again whose data it leads to, when it is taken from the pool after a while."""

    def __init__(self, *, judge: Judge, **settings: Any) -> None:
        super().__init__(**settings)
        self._judge = judge
        self._judged_at = -JUDGED_FOR_SECONDS

    async def connect(self) -> None:
        """What the pool calls before it hands a connection out."""
        if self.is_connected and _now() - self._judged_at < JUDGED_FOR_SECONDS:
            return
        try:
            if self.is_connected:
                await self._judge(self)
        except (WrongIncarnation, UnsafeEviction):
            await self.disconnect(nowait=True)
            raise
        except _LOST:  # while it lay idle: the one made in its place is judged too
            await self.disconnect(nowait=True)
        except BaseException:
            await self.disconnect(nowait=True)
            raise
        await super().connect()  # type: ignore[no-untyped-call] # as it came
        self._judged_at = _now()


class _JudgedConnection(_Judged, Connection):
    pass


class _JudgedSSLConnection(_Judged, SSLConnection):
    pass


_JUDGED: Final[dict[type[AbstractConnection], type[AbstractConnection]]] = {
    Connection: _JudgedConnection,
    SSLConnection: _JudgedSSLConnection,
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
        raise WrongIncarnation("the hold store is a replica")
    return f"{fields['run_id']}:{fields['master_replid']}"
