"""The rules: each derives findings from what the servers report."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from app.doctor.model import Finding, danger, ok, warning
from app.doctor.store import PostgresReport, RedisReport
from app.storage.database import POOL_SIZE
from app.storage.durability import NEEDED

CLOCK_DIFFERENCE_SECONDS: Final = 5.0
PING_SECONDS: Final = 0.02
MEMORY_FULL: Final = 0.7
DATABASE_VERSION: Final = 150000
REDIS_VERSION: Final = (6, 2)


@dataclass(frozen=True, slots=True)
class Deployment:
    """The settings of Holdfast's own processes."""

    workers: int
    hold_ttl_seconds: int
    signing_keys: int | None  # how many; None: kept in DATA_DIR
    serves_dev_identity: bool
    is_production: bool


def of_postgres(report: PostgresReport, head: str, deployment: Deployment) -> Iterator[Finding]:
    settings = report.settings
    for name, why in NEEDED.items():
        subject, value = f"PostgreSQL {name}", settings.get(name, "on")
        if value == "off":
            yield danger(
                subject, "off", why, f"set {name} = on and reload it; {_set_by(report, name)}"
            )
        else:
            yield ok(subject, value)
    yield _standbys(report)
    isolation = settings.get("default_transaction_isolation", "read committed")
    yield ok("PostgreSQL isolation", f"{isolation} by default; Holdfast sets its own")
    for name in ("idle_in_transaction_session_timeout", "statement_timeout", "lock_timeout"):
        yield _timeout(name, settings.get(name, "0"))
    version = int(settings.get("server_version_num", "0"))
    if version < DATABASE_VERSION:
        yield danger(
            "PostgreSQL version",
            settings.get("server_version", "unknown"),
            "versions before 15 are not tested",
            "upgrade PostgreSQL",
        )
    else:
        yield ok("PostgreSQL version", settings["server_version"])
    yield _connections(settings, deployment)
    if report.revision == head:
        yield ok("tables", f"up to date ({head})")
    else:
        yield danger(
            "tables",
            f"at revision {report.revision or 'none'}, but this version needs {head}",
            "requests will fail",
            "run `holdfast migrate`",
        )


def of_redis(report: RedisReport) -> Iterator[Finding]:
    info = report.info
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy == "noeviction":
        yield ok("Redis maxmemory-policy", policy)
    else:
        yield danger(
            "Redis maxmemory-policy",
            policy,
            "when memory is full, Redis drops holds, and their seats are granted again",
            "set maxmemory-policy noeviction; until then no hold is granted",
        )
    yield _memory(report)
    yield _persistence(report)
    if info.get("role") == "master":
        yield ok("Redis role", f"master with {info.get('connected_slaves', 0)} replicas")
    else:
        yield danger(
            "Redis role",
            str(info.get("role")),
            "a replica cannot grant holds",
            "point REDIS_URL at the primary",
        )
    if info.get("connected_slaves", 0) and report.configuration.get("min-replicas-to-write") == "0":
        yield warning(
            "Redis min-replicas-to-write",
            "0",
            "a primary that is cut off keeps granting holds, which clients never receive",
            "set min-replicas-to-write 1 and min-replicas-max-lag 10",
        )
    version = str(info.get("redis_version", "0"))
    if tuple(map(int, version.split(".")[:2])) < REDIS_VERSION:
        yield danger("Redis version", version, "the scripts need version 6.2", "upgrade Redis")
    else:
        yield ok("Redis version", version)
    if info.get("cluster_enabled"):
        yield warning(
            "Redis cluster",
            "on",
            "all holds are in one slot, so a cluster adds failures but no capacity",
            "use one server, or a primary with replicas",
        )
    yield _latency(report.slowest_ping_seconds)
    yield from _keys(report)


def of_both(postgres: PostgresReport, redis: RedisReport) -> Iterator[Finding]:
    apart = redis.clock_ahead_seconds - postgres.clock_ahead_seconds
    if abs(apart) > CLOCK_DIFFERENCE_SECONDS:
        yield warning(
            "clocks",
            f"Redis is {abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'} PostgreSQL",
            "holds expire by the clock of Redis, so a correction shortens or lengthens live holds",
            "synchronize both servers with one time service",
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
            "new holds are refused until it is; existing holds can be booked",
            "start an API process, which rebuilds Redis within seconds, and read its log",
        )


def of_ourselves(deployment: Deployment) -> Iterator[Finding]:
    yield ok("HOLD_TTL_SECONDS", str(deployment.hold_ttl_seconds))
    if deployment.signing_keys is not None:
        yield ok("SIGNING_KEYS", f"{deployment.signing_keys}, the first signs")
    elif deployment.serves_dev_identity:
        yield warning(
            "SIGNING_KEYS",
            "not set: generated once and stored in DATA_DIR",
            "other machines do not have these keys, and refuse the offers of this one",
            "set SIGNING_KEYS if more than one machine serves requests",
        )
    else:
        yield danger(
            "SIGNING_KEYS", "not set", "no API process can start", "set a JSON list of long secrets"
        )
    if deployment.serves_dev_identity and deployment.is_production:
        yield danger(
            "DEV_IDENTITY",
            "on in production",
            "every caller can get every token",
            "unset DEV_IDENTITY",
        )
    elif deployment.serves_dev_identity:
        yield warning(
            "DEV_IDENTITY",
            "on",
            "every caller that reaches the API can get every token",
            "set ENVIRONMENT=production if untrusted clients can reach the API",
        )
    else:
        yield ok("DEV_IDENTITY", "off")


def _set_by(report: PostgresReport, name: str) -> str:
    by = [override for override in report.overrides if override.startswith(f"{name}=")]
    return f"it is set by {', '.join(by)}" if by else "it is set for the whole server"


def _standbys(report: PostgresReport) -> Finding:
    subject = "PostgreSQL standbys"
    if not report.standbys:
        return ok(subject, "none: commits are on this server only, and in its backups")
    if any(state in ("sync", "quorum") for state in report.standbys):
        return ok(subject, f"{len(report.standbys)}, one of them synchronous")
    return warning(
        subject,
        f"{len(report.standbys)}, none of them synchronous",
        "after a failover the latest bookings may be missing",
        "set synchronous_standby_names, or never fail over without the old server's data",
    )


def _timeout(name: str, value: str) -> Finding:
    return ok(f"PostgreSQL {name}", f"{value} by default; Holdfast sets its own on each connection")


def _connections(settings: object, deployment: Deployment) -> Finding:
    assert isinstance(settings, dict)
    needed = POOL_SIZE * (deployment.workers + 1)  # and the relay
    free = int(settings.get("max_connections", "0")) - int(
        settings.get("superuser_reserved_connections", "0")
    )
    what = f"{free} connections; {deployment.workers} workers and a relay may use {needed}"
    if free and needed > free:
        return warning(
            "PostgreSQL max_connections",
            what,
            "under load some requests get no connection and are refused",
            "raise max_connections, or run fewer workers",
        )
    return ok("PostgreSQL max_connections", what)


def _memory(report: RedisReport) -> Finding:
    limit, used = int(report.info.get("maxmemory", 0)), int(report.info.get("used_memory", 0))
    if not limit:
        return ok("Redis memory", f"{used / 2**20:.0f} MiB used, no limit")
    what = f"{used / 2**20:.0f} of {limit / 2**20:.0f} MiB used"
    if used > limit * MEMORY_FULL:
        return warning(
            "Redis memory", what, "when it is full, no hold is granted", "raise maxmemory"
        )
    return ok("Redis memory", what)


def _persistence(report: RedisReport) -> Finding:
    if report.info.get("aof_enabled"):
        return ok("Redis persistence", "append-only file")
    snapshots = report.configuration.get("save", "")
    return warning(
        "Redis persistence",
        f"no append-only file, {'snapshots' if snapshots else 'no snapshots'}",
        "after a restart all holds are loaded from PostgreSQL, and new holds are refused until then; "
        "none is lost",
        "set appendonly yes",
    )


def _latency(seconds: float) -> Finding:
    what = f"{seconds * 1000:.1f} ms, the slowest of several"
    if seconds > PING_SECONDS:
        return warning(
            "Redis latency",
            what,
            "each hold waits for it",
            "run Redis closer to Holdfast, or find its slow commands with SLOWLOG",
        )
    return ok("Redis latency", what)


def _keys(report: RedisReport) -> Iterator[Finding]:
    if report.foreign_keys:
        yield warning(
            "Redis keys",
            f"{report.foreign_keys} of {report.keys_seen} do not belong to Holdfast",
            "another user of the server may fill, flush or slow it",
            "give Holdfast a Redis of its own",
        )
    elif report.lasting_tombstones:
        yield warning(
            "Redis keys",
            f"{report.lasting_tombstones} ended holds have no expiry time",
            "Redis leaks memory",
            "the next epoch discards them; report this with the versions in use",
        )
    else:
        yield ok("Redis keys", f"all of {report.keys_seen} keys that were read belong to Holdfast")


def of_drift(differences: Sequence[tuple[str, int, str]], shown_max: int = 20) -> Iterator[Finding]:
    """`differences` has flight, seats and description of each."""
    if not differences:
        yield ok("drift", "Redis and PostgreSQL agree")
    for flight_id, seats, description in differences[:shown_max]:
        yield danger(
            f"drift of {flight_id}",
            f"{seats} seats: {description}",
            "seats are withheld from sale, or shown although they cannot be booked",
            "run `holdfast doctor --repair`",
        )
    if len(differences) > shown_max:
        more = len(differences) - shown_max
        yield danger("drift", f"{more} more differences", "as above", "as above")
