"""What is well and what is not: each rule takes what was seen and says it in words."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from app.doctor.model import Finding, danger, ok, warning
from app.doctor.store import PostgresSeen, RedisSeen
from app.storage.database import POOL_SIZE
from app.storage.durability import NEEDED

CLOCKS_APART_SECONDS: Final = 5.0
PING_SECONDS: Final = 0.02
MEMORY_FULL: Final = 0.7
DATABASE_VERSION: Final = 150000
REDIS_VERSION: Final = (6, 2)


@dataclass(frozen=True, slots=True)
class Deployment:
    """What was chosen for our own processes."""

    workers: int
    hold_ttl_seconds: int
    signing_keys: int | None  # how many; None: kept in DATA_DIR
    serves_dev_identity: bool
    is_production: bool


def of_postgres(seen: PostgresSeen, head: str, chosen: Deployment) -> Iterator[Finding]:
    settings = seen.settings
    for name, why in NEEDED.items():
        subject, value = f"PostgreSQL {name}", settings.get(name, "on")
        if value == "off":
            yield danger(
                subject, "off", why, f"set {name} = on and reload it; {_set_by(seen, name)}"
            )
        else:
            yield ok(subject, value)
    yield _standbys(seen)
    isolation = settings.get("default_transaction_isolation", "read committed")
    yield ok("PostgreSQL isolation", f"{isolation} by default; Holdfast asks for its own")
    for name in ("idle_in_transaction_session_timeout", "statement_timeout", "lock_timeout"):
        yield _timeout(name, settings.get(name, "0"))
    version = int(settings.get("server_version_num", "0"))
    if version < DATABASE_VERSION:
        yield danger(
            "PostgreSQL version",
            settings.get("server_version", "unknown"),
            "nothing older than 15 is tested",
            "upgrade it",
        )
    else:
        yield ok("PostgreSQL version", settings["server_version"])
    yield _connections(settings, chosen)
    if seen.revision == head:
        yield ok("tables", f"up to date ({head})")
    else:
        yield danger(
            "tables",
            f"at {seen.revision or 'nothing'}, and the program needs {head}",
            "requests will fail",
            "run `holdfast migrate`",
        )


def of_redis(seen: RedisSeen) -> Iterator[Finding]:
    info = seen.info
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy == "noeviction":
        yield ok("Redis maxmemory-policy", policy)
    else:
        yield danger(
            "Redis maxmemory-policy",
            policy,
            "when memory is short it drops holds silently, and their seats are sold again",
            "set maxmemory-policy noeviction; until then no hold is taken",
        )
    yield _memory(seen)
    yield _persistence(seen)
    if info.get("role") == "master":
        yield ok("Redis role", f"master with {info.get('connected_slaves', 0)} replicas")
    else:
        yield danger(
            "Redis role",
            str(info.get("role")),
            "nothing can be held on a replica",
            "point REDIS_URL at the primary",
        )
    if info.get("connected_slaves", 0) and seen.configuration.get("min-replicas-to-write") == "0":
        yield warning(
            "Redis min-replicas-to-write",
            "0",
            "a primary that is cut off goes on granting holds that nobody will be promised",
            "set min-replicas-to-write 1 and min-replicas-max-lag 10",
        )
    version = str(info.get("redis_version", "0"))
    if tuple(map(int, version.split(".")[:2])) < REDIS_VERSION:
        yield danger("Redis version", version, "the scripts need 6.2", "upgrade it")
    else:
        yield ok("Redis version", version)
    if info.get("cluster_enabled"):
        yield warning(
            "Redis cluster",
            "on",
            "all holds live in one slot, so that a cluster adds failures and no capacity",
            "use a server, or a primary with replicas",
        )
    yield _latency(seen.slowest_ping_seconds)
    yield from _keys(seen)


def of_both(postgres: PostgresSeen, redis: RedisSeen) -> Iterator[Finding]:
    apart = redis.clock_ahead_seconds - postgres.clock_ahead_seconds
    if abs(apart) > CLOCKS_APART_SECONDS:
        yield warning(
            "clocks",
            f"Redis is {abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'} PostgreSQL",
            "holds are kept by the clock of Redis; a correction shortens or lengthens the live ones",
            "let both follow one time service",
        )
    else:
        yield ok("clocks", f"Redis and PostgreSQL are {abs(apart):.1f} s apart")
    if postgres.epoch is None:
        return
    number, mode = postgres.epoch["epoch"], postgres.epoch["mode"]
    incarnation = f"{redis.info.get('run_id')}:{redis.info.get('master_replid')}"
    if mode == "redis" and redis.epoch == number and postgres.epoch["incarnation"] == incarnation:
        yield ok("epoch", f"{number} is open")
    else:
        yield danger(
            "epoch",
            f"{number} is not open ({mode} in PostgreSQL, {redis.epoch or 'none'} in Redis)",
            "no hold is taken until it is; promised ones can be booked",
            "start an API process, which rebuilds Redis within seconds, and read its log",
        )


def of_ourselves(chosen: Deployment) -> Iterator[Finding]:
    yield ok("HOLD_TTL_SECONDS", str(chosen.hold_ttl_seconds))
    if chosen.signing_keys is not None:
        yield ok("SIGNING_KEYS", f"{chosen.signing_keys}, the first signs")
    elif chosen.serves_dev_identity:
        yield warning(
            "SIGNING_KEYS",
            "not set: drawn once and kept in DATA_DIR",
            "another machine does not know them, and refuses this one's offers",
            "set SIGNING_KEYS where more than one machine serves",
        )
    else:
        yield danger(
            "SIGNING_KEYS", "not set", "no API process starts", "set a JSON list of long secrets"
        )
    if chosen.serves_dev_identity and chosen.is_production:
        yield danger(
            "DEV_IDENTITY", "on in production", "anybody gets any token", "unset DEV_IDENTITY"
        )
    elif chosen.serves_dev_identity:
        yield warning(
            "DEV_IDENTITY",
            "on",
            "anybody who reaches the API gets any token",
            "set ENVIRONMENT=production where strangers can reach it",
        )
    else:
        yield ok("DEV_IDENTITY", "off")


def _set_by(seen: PostgresSeen, name: str) -> str:
    by = [override for override in seen.overrides if override.startswith(f"{name}=")]
    return f"it is set here: {', '.join(by)}" if by else "it is set for the whole server"


def _standbys(seen: PostgresSeen) -> Finding:
    subject = "PostgreSQL standbys"
    if not seen.standbys:
        return ok(subject, "none: what it commits is on this one server alone, and in its backups")
    if any(state in ("sync", "quorum") for state in seen.standbys):
        return ok(subject, f"{len(seen.standbys)}, one of them synchronous")
    return warning(
        subject,
        f"{len(seen.standbys)}, none of them synchronous",
        "after a failover the last bookings may be missing",
        "set synchronous_standby_names, or never fail over without the old server's data",
    )


def _timeout(name: str, value: str) -> Finding:
    return ok(f"PostgreSQL {name}", f"{value} for others; Holdfast sets its own on each connection")


def _connections(settings: object, chosen: Deployment) -> Finding:
    assert isinstance(settings, dict)
    needed = POOL_SIZE * (chosen.workers + 1)  # and the relay
    free = int(settings.get("max_connections", "0")) - int(
        settings.get("superuser_reserved_connections", "0")
    )
    what = f"{free} connections; {chosen.workers} workers and a relay may use {needed}"
    if free and needed > free:
        return warning(
            "PostgreSQL max_connections",
            what,
            "under load requests are refused that could be served",
            "raise max_connections, or run fewer workers",
        )
    return ok("PostgreSQL max_connections", what)


def _memory(seen: RedisSeen) -> Finding:
    limit, used = int(seen.info.get("maxmemory", 0)), int(seen.info.get("used_memory", 0))
    if not limit:
        return ok("Redis memory", f"{used / 2**20:.0f} MiB used, no limit but the machine's")
    what = f"{used / 2**20:.0f} of {limit / 2**20:.0f} MiB used"
    if used > limit * MEMORY_FULL:
        return warning("Redis memory", what, "when it is full no hold is taken", "raise maxmemory")
    return ok("Redis memory", what)


def _persistence(seen: RedisSeen) -> Finding:
    if seen.info.get("aof_enabled"):
        return ok("Redis persistence", "append-only file")
    snapshots = seen.configuration.get("save", "")
    return warning(
        "Redis persistence",
        f"no append-only file, {'snapshots' if snapshots else 'no snapshots'}",
        "after a restart everything is loaded from PostgreSQL, and until then no hold is taken; "
        "none is lost",
        "set appendonly yes",
    )


def _latency(seconds: float) -> Finding:
    what = f"{seconds * 1000:.1f} ms, the slowest of a few"
    if seconds > PING_SECONDS:
        return warning(
            "Redis latency",
            what,
            "each hold waits for it",
            "bring Redis nearer, or look what it does",
        )
    return ok("Redis latency", what)


def _keys(seen: RedisSeen) -> Iterator[Finding]:
    if seen.strangers:
        yield warning(
            "Redis keys",
            f"{seen.strangers} of {seen.keys_seen} are not ours",
            "whoever shares the server may fill, flush or slow it",
            "give Holdfast a Redis of its own",
        )
    elif seen.lasting_tombstones:
        yield warning(
            "Redis keys",
            f"{seen.lasting_tombstones} holds that ended would be kept for ever",
            "memory leaks",
            "the next epoch lets go of them; report it, with the versions used",
        )
    else:
        yield ok("Redis keys", f"all ours, as far as {seen.keys_seen} tell")


def of_drift(whats: Sequence[tuple[str, int, str]], most: int = 20) -> Iterator[Finding]:
    """Flight, seats and words of each difference."""
    if not whats:
        yield ok("drift", "Redis and PostgreSQL agree")
    for flight_id, seats, what in whats[:most]:
        yield danger(
            f"drift of {flight_id}",
            f"{seats} seats: {what}",
            "seats are kept from sale, or shown that cannot be booked",
            "run `holdfast doctor --repair`",
        )
    if len(whats) > most:
        yield danger("drift", f"{len(whats) - most} more differences", "as above", "as above")
