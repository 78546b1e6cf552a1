"""`holdfast doctor` on real servers: what it says, what it ends with, and what it mends."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from app.doctor.model import Finding, Level, danger, is_dangerous, ok, verdict, warning
from app.doctor.rules import Deployment, of_both, of_ourselves, of_postgres, of_redis
from app.doctor.store import PostgresSeen, RedisSeen, see_redis
from app.ids import FlightId
from app.wiring import Core
from tests.builders.flights import flight
from tests.builders.holds import DEMO, key, no_offers, request
from tests.fixtures.core import StartCore, sell_from
from tests.fixtures.servers import StartPostgres
from tests.test_cli import Ended, holdfast

SOUTH = FlightId("flt_south")
CHOSEN = Deployment(2, 600, 1, serves_dev_identity=False, is_production=True)


def postgres(**settings: str) -> PostgresSeen:
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
    return PostgresSeen(safe | settings, (), (), "0006", epoch, 0.0)


def redis(epoch: int | None = 3, ahead: float = 0.0, strangers: int = 0, **info: Any) -> RedisSeen:
    safe = {
        "maxmemory_policy": "noeviction",
        "role": "master",
        "redis_version": "7.2.0",
        "aof_enabled": 1,
        "run_id": "run",
        "master_replid": "repl",
    }
    return RedisSeen(safe | info, {}, epoch, 0.001, ahead, strangers, 0, 10)


def worst(findings: list[Finding]) -> list[Finding]:
    return [found for found in findings if found.level is not Level.OK]


def test_where_all_is_well_nothing_else_is_said() -> None:
    findings = [*of_ourselves(CHOSEN), *of_postgres(postgres(), "0006", CHOSEN)]
    findings += [*of_redis(redis()), *of_both(postgres(), redis())]
    assert worst(findings) == []
    assert verdict(findings).startswith("fine")


@pytest.mark.parametrize(
    ("seen", "level", "subject"),
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
        (redis(strangers=4), Level.WARNING, "Redis keys"),
        (redis(ahead=60.0), Level.WARNING, "clocks"),
        (redis(epoch=None), Level.DANGER, "epoch"),
        (redis(run_id="another"), Level.DANGER, "epoch"),
    ],
)
def test_what_endangers_a_promise_is_said_with_its_reason_and_its_fix(
    seen: PostgresSeen | RedisSeen, level: Level, subject: str
) -> None:
    if isinstance(seen, PostgresSeen):
        found = worst(list(of_postgres(seen, "0006", CHOSEN)))
    else:
        found = worst([*of_redis(seen), *of_both(postgres(), seen)])
    assert [(one.level, one.subject) for one in found] == [(level, subject)]
    assert found[0].why
    assert found[0].fix
    assert found[0].line.startswith(f"{level:<7}  {subject}: ")


def test_the_verdict_is_of_the_worst() -> None:
    told = [ok("a", "b"), warning("a", "b", "c", "d")]
    assert (verdict(told), is_dangerous(told)) == ("fine, with 1 warnings among 2 findings", False)
    told.append(danger("a", "b", "c", "d"))
    assert verdict(told) == "danger: 1 of 3 findings endanger what was promised"
    assert is_dangerous(told)


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
    well = await doctor(**where)  # type: ignore[arg-type]
    assert well.code == 0, well
    assert well.out.splitlines()[-1].startswith("fine")
    assert "ok       drift: Redis and PostgreSQL agree" in well.out

    flight_key = (await core.epochs.life()).keys.flight(SOUTH)
    await core.redis.hset(flight_key, "economy:held", "7,0")
    ill = await doctor("--json", **where)  # type: ignore[arg-type]
    assert ill.code == 1
    told = json.loads(ill.out)
    assert told["dangerous"]
    (drift,) = [one for one in told["findings"] if one["level"] == "danger"]
    assert drift["subject"] == "drift of flt_south"
    assert drift["what"].startswith("5 seats: economy: Redis counts 7/0 held")
    assert drift["fix"] == "run `holdfast doctor --repair`"

    mended = await doctor("--repair", **where)  # type: ignore[arg-type]
    assert mended.code == 0, mended
    assert "drift: 1 differences were mended piece by piece" in mended.out
    assert await core.redis.hget(flight_key, "economy:held") == b"2,0"


async def test_a_hold_that_ran_out_may_stay_until_the_journal_was_told(
    start_core: StartCore, empty_redis: str
) -> None:
    core = await start_core(ttl=timedelta(milliseconds=1))
    await sell_from(core, flight(flight_id=SOUTH))
    held = (await core.holds(no_offers).place(DEMO, request((SOUTH, "Y")), key())).value
    life = await core.epochs.life()
    while held.hold_id not in await life.holds.unrecorded_expiries():
        await life.holds.expire_due()
    assert (await see_redis(empty_redis)).lasting_tombstones == 0
    names = life.keys
    await core.redis.srem(names.ended, held.hold_id)
    assert (await see_redis(empty_redis)).lasting_tombstones == 1
    await core.redis.pexpire(names.memo(held.hold_id), 60_000)
    assert (await see_redis(empty_redis)).lasting_tombstones == 0


async def test_a_server_that_is_away_is_one_line(empty_database: str, tmp_path: Path) -> None:
    ended = await doctor(database=empty_database, redis="redis://127.0.0.1:1/0", folder=tmp_path)
    assert ended.code == 1
    assert ended.err == ""
    assert "danger   Redis: does not answer at REDIS_URL (" in ended.out
    assert "ok       tables: up to date" in ended.out


async def test_one_that_may_forget_is_told_with_who_set_it(
    start_postgres: StartPostgres, empty_redis: str, tmp_path: Path
) -> None:
    server = await start_postgres(migrated=True)
    keeper = await server.connect()
    await keeper.execute("ALTER ROLE holdfast SET synchronous_commit = off")
    await keeper.close()
    client = Redis.from_url(empty_redis)
    await client.set("somebody-else", 1)
    ended = await doctor(database=server.url, redis=empty_redis, folder=tmp_path)
    await client.aclose()
    assert ended.code == 1
    assert "it is set here: synchronous_commit=off (holdfast)" in ended.out
    assert "1 of 1 are not ours" in ended.out


async def test_an_address_that_is_missing_is_one_line(tmp_path: Path) -> None:
    ended = await holdfast("doctor", DATA_DIR=str(tmp_path))
    assert ended.code == 2
    assert ended.err.startswith("holdfast: DATABASE_URL: ")
