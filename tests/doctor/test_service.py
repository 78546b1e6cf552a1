"""`holdfast doctor` on real servers: its findings, its exit code and its repair."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from app.doctor.model import Finding, Level, danger, is_dangerous, ok, verdict, warning
from app.doctor.rules import Deployment, of_both, of_ourselves, of_postgres, of_redis
from app.doctor.store import PostgresReport, RedisReport, read_redis
from app.ids import FlightId
from app.wiring import Core
from tests.builders.flights import flight
from tests.builders.holds import DEMO, key, no_offers, request
from tests.fixtures.core import StartCore, sell_from
from tests.fixtures.servers import StartPostgres
from tests.test_cli import Ended, holdfast

SOUTH = FlightId("flt_south")
DEPLOYMENT = Deployment(2, 600, 1, serves_dev_identity=False, is_production=True)


def postgres(**settings: str) -> PostgresReport:
    safe = {
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "server_version_num": "160001",
        "server_version": "16.1",
        "max_connections": "100",
        "superuser_reserved_connections": "3",
    }
    epoch = {"epoch": 3, "mode": "redis", "incarnation": "run:repl"}
    return PostgresReport(safe | settings, (), (), "0006", epoch, 0.0)


def redis(
    epoch: int | None = 3, ahead: float = 0.0, foreign_keys: int = 0, **info: Any
) -> RedisReport:
    safe = {
        "maxmemory_policy": "noeviction",
        "role": "master",
        "redis_version": "7.2.0",
        "aof_enabled": 1,
        "run_id": "run",
        "master_replid": "repl",
    }
    return RedisReport(safe | info, {}, epoch, 0.001, ahead, foreign_keys, 0, 10)


def worst(findings: list[Finding]) -> list[Finding]:
    return [found for found in findings if found.level is not Level.OK]


def test_a_safe_deployment_has_no_warnings() -> None:
    findings = [*of_ourselves(DEPLOYMENT), *of_postgres(postgres(), "0006", DEPLOYMENT)]
    findings += [*of_redis(redis()), *of_both(postgres(), redis())]
    assert worst(findings) == []
    assert verdict(findings).startswith("ok")


@pytest.mark.parametrize(
    ("report", "level", "subject"),
    [
        (postgres(fsync="off"), Level.DANGER, "PostgreSQL fsync"),
        (postgres(full_page_writes="off"), Level.DANGER, "PostgreSQL full_page_writes"),
        (postgres(synchronous_commit="off"), Level.DANGER, "PostgreSQL synchronous_commit"),
        (postgres(server_version_num="140009"), Level.DANGER, "PostgreSQL version"),
        (postgres(max_connections="20"), Level.WARNING, "PostgreSQL max_connections"),
        (redis(maxmemory_policy="allkeys-lru"), Level.DANGER, "Redis maxmemory-policy"),
        (redis(maxmemory=100, used_memory=80), Level.WARNING, "Redis memory"),
        (redis(aof_enabled=0), Level.WARNING, "Redis persistence"),
        (redis(role="slave"), Level.DANGER, "Redis role"),
        (redis(redis_version="6.0.16"), Level.DANGER, "Redis version"),
        (redis(cluster_enabled=1), Level.WARNING, "Redis cluster"),
        (redis(foreign_keys=4), Level.WARNING, "Redis keys"),
        (redis(ahead=60.0), Level.WARNING, "clocks"),
        (redis(epoch=None), Level.DANGER, "epoch"),
        (redis(run_id="another"), Level.DANGER, "epoch"),
    ],
)
def test_a_danger_has_its_reason_and_its_fix(
    report: PostgresReport | RedisReport, level: Level, subject: str
) -> None:
    if isinstance(report, PostgresReport):
        found = worst(list(of_postgres(report, "0006", DEPLOYMENT)))
    else:
        found = worst([*of_redis(report), *of_both(postgres(), report)])
    assert [(one.level, one.subject) for one in found] == [(level, subject)]
    assert found[0].why
    assert found[0].fix
    assert found[0].line.startswith(f"{level:<7}  {subject}: ")


def test_the_verdict_is_that_of_the_worst_finding() -> None:
    report = [ok("a", "b"), warning("a", "b", "c", "d")]
    assert (verdict(report), is_dangerous(report)) == (
        "ok, with 1 warnings among 2 findings",
        False,
    )
    report.append(danger("a", "b", "c", "d"))
    assert verdict(report) == "danger: 1 of 3 findings endanger holds or bookings"
    assert is_dangerous(report)


async def doctor(*options: str, database: str, redis: str, folder: Path) -> Ended:
    return await holdfast(
        "doctor", *options, DATABASE_URL=database, REDIS_URL=redis, DATA_DIR=str(folder)
    )


async def test_drift_is_told_and_mended_on_request(
    core: Core, empty_database: str, empty_redis: str, tmp_path: Path
) -> None:
    await sell_from(core, flight(flight_id=SOUTH))
    await core.holds(no_offers).place(DEMO, request((SOUTH, "Y"), adults=2), key())
    where = {"database": empty_database, "redis": empty_redis, "folder": tmp_path}
    safe = await doctor(**where)  # type: ignore[arg-type]
    assert safe.code == 0, safe
    assert safe.out.splitlines()[-1].startswith("ok")
    assert "ok       drift: Redis and PostgreSQL agree" in safe.out

    flight_key = (await core.epochs.life()).keys.flight(SOUTH)
    await core.redis.hset(flight_key, "economy:held", "7,0")
    damaged = await doctor("--json", **where)  # type: ignore[arg-type]
    assert damaged.code == 1
    report = json.loads(damaged.out)
    assert report["dangerous"]
    (drift,) = [one for one in report["findings"] if one["level"] == "danger"]
    assert drift["subject"] == "drift of flt_south"
    assert drift["what"].startswith("5 seats: economy: Redis counts 7/0 held")
    assert drift["fix"] == "run `holdfast doctor --repair`"

    repaired = await doctor("--repair", **where)  # type: ignore[arg-type]
    assert repaired.code == 0, repaired
    assert "drift: 1 differences were corrected one by one" in repaired.out
    assert await core.redis.hget(flight_key, "economy:held") == b"2,0"


async def test_an_expired_hold_stays_until_the_journal_has_recorded_it(
    start_core: StartCore, empty_redis: str
) -> None:
    core = await start_core(ttl=timedelta(milliseconds=1))
    await sell_from(core, flight(flight_id=SOUTH))
    held = (await core.holds(no_offers).place(DEMO, request((SOUTH, "Y")), key())).value
    life = await core.epochs.life()
    while held.hold_id not in await life.holds.unrecorded_expiries():
        await life.holds.expire_due()
    assert (await read_redis(empty_redis)).lasting_tombstones == 0
    names = life.keys
    await core.redis.srem(names.ended, held.hold_id)
    assert (await read_redis(empty_redis)).lasting_tombstones == 1
    await core.redis.pexpire(names.memo(held.hold_id), 60_000)
    assert (await read_redis(empty_redis)).lasting_tombstones == 0


async def test_an_unreachable_server_is_one_line(empty_database: str, tmp_path: Path) -> None:
    ended = await doctor(database=empty_database, redis="redis://127.0.0.1:1/0", folder=tmp_path)
    assert ended.code == 1
    assert ended.err == ""
    assert "danger   Redis: does not answer at REDIS_URL (" in ended.out
    assert "ok       tables: up to date" in ended.out


async def test_a_setting_that_loses_commits_is_reported_with_its_origin(
    start_postgres: StartPostgres, empty_redis: str, tmp_path: Path
) -> None:
    server = await start_postgres(migrated=True)
    keeper = await server.connect()
    await keeper.execute("ALTER ROLE holdfast SET synchronous_commit = off")
    await keeper.close()
    client = Redis.from_url(empty_redis)
    await client.set("of-another-program", 1)
    ended = await doctor(database=server.url, redis=empty_redis, folder=tmp_path)
    await client.aclose()
    assert ended.code == 1
    assert "it is set by synchronous_commit=off (holdfast)" in ended.out
    assert "1 of 1 do not belong to Holdfast" in ended.out


async def test_a_missing_address_is_one_line(tmp_path: Path) -> None:
    ended = await holdfast("doctor", DATA_DIR=str(tmp_path))
    assert ended.code == 2
    assert ended.err.startswith("holdfast: DATABASE_URL: ")
