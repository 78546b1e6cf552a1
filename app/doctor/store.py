"""Reads what PostgreSQL and Redis report about themselves. It draws no conclusions."""

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
KEYS_MAX: Final = 20_000  # read at most: a sample of a large server
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
class PostgresReport:
    settings: Mapping[str, str]  # of Holdfast's role in its database
    overrides: tuple[str, ...]
    standbys: tuple[str, ...]  # the sync_state of each
    revision: str | None
    epoch: Mapping[str, Any] | None
    clock_ahead_seconds: float  # of this machine's


@dataclass(frozen=True, slots=True)
class RedisReport:
    info: Mapping[str, Any]
    configuration: Mapping[str, str]  # empty where CONFIG is not allowed
    epoch: int | None
    slowest_ping_seconds: float
    clock_ahead_seconds: float  # of this machine's
    foreign_keys: int  # Redis keys that do not belong to Holdfast
    lasting_tombstones: int  # without an expiry time
    keys_seen: int


async def read_postgres(url: str) -> PostgresReport:
    """Raises what asyncpg raises; OSError or TimeoutError if the server is unreachable."""
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
        return PostgresReport(
            {name: value for name, value in dict(settings).items() if value is not None},
            tuple(f"{row['setting']} ({_whose(row)})" for row in overrides),
            tuple(row["sync_state"] or "" for row in standbys),
            revision,
            epoch,
            ahead,
        )
    finally:
        connection.terminate()


async def read_redis(url: str) -> RedisReport:
    """Raises what redis-py raises. Connects to any incarnation."""
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
        foreign, lasting, read = await _keys(client)
        return RedisReport(
            info,
            await _configuration(client),
            None if epoch is None else int(epoch),
            slowest,
            ahead,
            foreign,
            lasting,
            read,
        )
    finally:
        await client.aclose()


async def _epoch(connection: asyncpg.Connection) -> Mapping[str, Any] | None:
    try:
        row = await connection.fetchrow(_EPOCH)
    except (
        asyncpg.UndefinedColumnError
    ):  # tables of an older revision, which is a finding of its own
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
    except Exception:  # the user may not run CONFIG, or the provider does not offer it
        return {}
    return {_text(name): _text(value) for name, value in found.items()}


async def _keys(client: Redis) -> tuple[int, int, int]:
    """Count, in a sample: foreign keys, ended holds without an expiry time, and keys read."""
    foreign = lasting = read = 0
    async for key in client.scan_iter(count=1000):
        read += 1
        name = key.decode(errors="replace")
        if not name.startswith(keys.TAG + ":"):
            foreign += 1
        elif ":h:" in name and await client.pttl(key) == -1:
            lasting += await _is_lasting_tombstone(client, name)
        if read >= KEYS_MAX:
            break
    return foreign, lasting, read


async def _is_lasting_tombstone(client: Redis, memo: str) -> bool:
    """Whether the hold has ended in the journal too, so that its memo should have an expiry time."""
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
