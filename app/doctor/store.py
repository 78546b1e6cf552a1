"""What PostgreSQL and Redis say of themselves. Reads only; judges nothing."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import asyncpg
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from app.hold.redis import keys
from app.hold.redis.keys import Keys
from app.ids import HoldId

SECONDS: Final = 3.0
PINGS: Final = 5
KEYS_MAX: Final = 20_000  # looked at; a sample of a large server
_SETTINGS: Final = (
    "fsync",
    "full_page_writes",
    "synchronous_commit",
    "synchronous_standby_names",
    "idle_in_transaction_session_timeout",
    "statement_timeout",
    "lock_timeout",
    "default_transaction_isolation",
    "server_version_num",
    "server_version",
    "max_connections",
    "superuser_reserved_connections",
)
_SET: Final = "SELECT " + ", ".join(f"current_setting('{n}', true) AS {n}" for n in _SETTINGS)
_EPOCH: Final = """SELECT epoch, incarnation, mode, cut, bumped_at, rebuilder, away_since
    FROM redis_epoch JOIN epoch_gate USING (shard) WHERE shard = 0"""
_STANDBYS: Final = "SELECT sync_state FROM pg_stat_replication"
_OVERRIDES: Final = """
    SELECT coalesce(r.rolname, '') AS role, coalesce(d.datname, '') AS database,
        unnest(setconfig) AS setting
    FROM pg_db_role_setting LEFT JOIN pg_roles AS r ON r.oid = setrole
        LEFT JOIN pg_database AS d ON d.oid = setdatabase
    WHERE (setrole = 0 OR r.rolname = current_user) AND (setdatabase = 0 OR d.datname = current_database())"""


@dataclass(frozen=True, slots=True)
class PostgresSeen:
    settings: Mapping[str, str]  # of our role, in our database
    overrides: tuple[str, ...]
    standbys: tuple[str, ...]  # the sync_state of each
    revision: str | None
    epoch: Mapping[str, Any] | None
    clock_ahead_seconds: float  # of this machine's


@dataclass(frozen=True, slots=True)
class RedisSeen:
    info: Mapping[str, Any]
    configuration: Mapping[str, str]  # empty where CONFIG is not allowed
    epoch: int | None
    slowest_ping_seconds: float
    clock_ahead_seconds: float  # of this machine's
    strangers: int
    lasting_tombstones: int
    keys_seen: int


async def see_postgres(url: str) -> PostgresSeen:
    """Raises what asyncpg raises; a server that is away gives OSError or TimeoutError."""
    connection = await asyncpg.connect(url.replace("+asyncpg", ""), timeout=SECONDS)
    try:
        async with asyncio.timeout(SECONDS):
            settings = await connection.fetchrow(_SET)
            overrides = await connection.fetch(_OVERRIDES)
            standbys = await connection.fetch(_STANDBYS)
            before = datetime.now(UTC)
            clock = await connection.fetchval("SELECT clock_timestamp()")
            ahead = _ahead(clock, before, datetime.now(UTC))
            revision, epoch = None, None
            if await connection.fetchval("SELECT to_regclass('alembic_version') IS NOT NULL"):
                revision = await connection.fetchval("SELECT version_num FROM alembic_version")
            if await connection.fetchval("SELECT to_regclass('epoch_gate') IS NOT NULL"):
                epoch = await _epoch(connection)
        return PostgresSeen(
            {name: value for name, value in dict(settings).items() if value is not None},
            tuple(f"{row['setting']} ({_whose(row)})" for row in overrides),
            tuple(row["sync_state"] or "" for row in standbys),
            revision,
            epoch,
            ahead,
        )
    finally:
        connection.terminate()


async def see_redis(url: str) -> RedisSeen:
    """Raises what redis-py raises. Judges no incarnation: it is the one that looks."""
    client = Redis.from_url(
        url,
        socket_timeout=SECONDS,
        socket_connect_timeout=SECONDS,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )
    try:
        info: dict[str, Any] = {}
        for section in ("server", "replication", "memory", "persistence", "cluster"):
            info |= await client.info(section)
        slowest = max([await _ping(client) for _ in range(PINGS)])
        before = datetime.now(UTC)
        seconds, microseconds = await client.time()
        clock = datetime.fromtimestamp(seconds + microseconds / 1e6, UTC)
        ahead = _ahead(clock, before, datetime.now(UTC))
        epoch = await client.get(keys.EPOCH)
        strangers, lasting, looked_at = await _keys(client)
        return RedisSeen(
            info,
            await _configuration(client),
            None if epoch is None else int(epoch),
            slowest,
            ahead,
            strangers,
            lasting,
            looked_at,
        )
    finally:
        await client.aclose()


async def _epoch(connection: asyncpg.Connection) -> Mapping[str, Any] | None:
    try:
        row = await connection.fetchrow(_EPOCH)
    except asyncpg.UndefinedColumnError:  # tables of before; the migrations say so
        return None
    return None if row is None else dict(row)


async def _ping(client: Redis) -> float:
    loop = asyncio.get_running_loop()
    before = loop.time()
    await client.echo("")
    return loop.time() - before


async def _configuration(client: Redis) -> dict[str, str]:
    try:
        found = await client.config_get("maxmemory", "min-replicas-to-write", "save")
    except Exception:  # not allowed to this user, or another way of asking
        return {}
    return {_text(name): _text(value) for name, value in found.items()}


async def _keys(client: Redis) -> tuple[int, int, int]:
    """Of a sample: keys that are not ours, and ended holds that would never be forgotten."""
    strangers = lasting = looked_at = 0
    async for key in client.scan_iter(count=1000):
        looked_at += 1
        name = key.decode(errors="replace")
        if not name.startswith(keys.TAG + ":"):
            strangers += 1
        elif ":h:" in name and await client.pttl(key) == -1:
            lasting += await _has_ended_and_stays(client, name)
        if looked_at >= KEYS_MAX:
            break
    return strangers, lasting, looked_at


async def _has_ended_and_stays(client: Redis, memo: str) -> bool:
    """It does not age, though the journal was told."""
    epoch = keys.epoch_of(memo)
    if epoch is None or await client.hget(memo, "state") in (b"HELD", b"PINNED", None):
        return False
    names = Keys(epoch)
    return not await client.sismember(names.ended, memo.removeprefix(names.memo(HoldId(""))))


def _ahead(clock: datetime, before: datetime, after: datetime) -> float:
    return (clock - (before + (after - before) / 2)).total_seconds()


def _whose(row: Mapping[str, Any]) -> str:
    return " in ".join(filter(None, (row["role"], row["database"]))) or "everybody"


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
