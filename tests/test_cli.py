"""The program as a person or a script uses it: exit codes, one line for what is wrong, JSON on request."""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from redis.asyncio import Redis

from app.dev import running
from tests.fixtures.servers import StartPostgres, StartValkey

EXAMPLE = Path(__file__).parents[1] / "docs" / "examples" / "flights.csv"


@dataclass(frozen=True, slots=True)
class Ended:
    code: int
    out: str
    err: str


async def holdfast(*arguments: str, **settings: str) -> Ended:
    environment: Mapping[str, str] = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "NO_COLOR": "1",
        **settings,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app.cli", *arguments,
        env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


async def test_help_names_every_role() -> None:
    ended = await holdfast("--help")
    assert ended.code == 0
    for role in ("dev", "api", "relay", "migrate", "import", "doctor", "sample", "token"):
        assert f" {role} " in ended.out
    assert "\x1b[" not in ended.out, "colours only on a terminal"


@pytest.mark.parametrize(
    ("arguments", "settings", "line"),
    [
        (["api"], {"PORT": "x"}, "holdfast: PORT: "),
        (["api"], {}, "holdfast: DATABASE_URL: "),
        (["relay"], {}, "holdfast: DATABASE_URL: "),
        (["migrate"], {}, "holdfast: DATABASE_URL: "),
        (["import", "x.csv"], {}, "holdfast: DATABASE_URL: "),
        (["token", "--client", "nobody"], {}, "holdfast: there is no client 'nobody'"),
        (["token"], {"DEV_IDENTITY": "0"}, "holdfast: DEV_IDENTITY: "),
        (["dev"], {"ENVIRONMENT": "production"}, "holdfast: DATABASE_URL: "),
        (["token"], {"HOLDFAST_PORT": "1"}, "holdfast: HOLDFAST_PORT "),
    ],
)
async def test_what_is_wrong_is_one_line_and_2(
    tmp_path: Path, arguments: list[str], settings: dict[str, str], line: str
) -> None:
    ended = await holdfast(*arguments, **({"DATA_DIR": str(tmp_path)} | settings))
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err.startswith(line)
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize("role", ["api", "relay"])
async def test_a_postgres_that_may_forget_stops_the_start(
    start_postgres: StartPostgres, empty_redis: str, tmp_path: Path, role: str
) -> None:
    server = await start_postgres(durable=False)
    ended = await holdfast(
        role, DATA_DIR=str(tmp_path), DATABASE_URL=server.url, REDIS_URL=empty_redis
    )
    assert ended.code == 2
    assert ended.err.startswith("holdfast: DATABASE_URL: PostgreSQL runs with fsync=off and ")
    assert ended.err.count("\n") == 1


async def test_a_redis_that_may_drop_holds_stops_the_start(
    start_valkey: StartValkey, empty_database: str, tmp_path: Path
) -> None:
    server = await start_valkey()
    client = Redis.from_url(server.url)
    await client.config_set("maxmemory-policy", "volatile-lru")
    await client.aclose()
    ended = await holdfast(
        "api", DATA_DIR=str(tmp_path), DATABASE_URL=empty_database, REDIS_URL=server.url
    )
    assert ended.code == 2
    assert ended.err.startswith(
        "holdfast: REDIS_URL: Redis runs with maxmemory-policy volatile-lru"
    )
    assert ended.err.count("\n") == 1


async def test_a_token_is_all_that_is_printed(tmp_path: Path) -> None:
    plain = await holdfast("token", DATA_DIR=str(tmp_path))
    assert plain.code == 0
    assert plain.out.strip().count(".") == 2
    as_json = await holdfast("token", "--client", "ops", "--json", DATA_DIR=str(tmp_path))
    assert set(json.loads(as_json.out)) == {"access_token", "token_type"}


async def test_an_import_tells_what_it_did_and_a_bad_line_stops_all_of_it(
    empty_database: str, empty_redis: str, tmp_path: Path
) -> None:
    stores = {"DATABASE_URL": empty_database, "REDIS_URL": empty_redis, "DATA_DIR": str(tmp_path)}
    header, *lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    bad = tmp_path / "bad.csv"
    bad.write_text("\n".join([header, *lines, lines[0].replace("flt_", "oops_")]) + "\n")

    refused = await holdfast("import", str(bad), **stores)
    assert refused.code == 2
    assert f"{bad}:{len(lines) + 2}: " in refused.err
    as_json = await holdfast("import", str(bad), "--json", **stores)
    assert [entry["line"] for entry in json.loads(as_json.out)["reasons"]] == [len(lines) + 2]

    loaded = await holdfast("import", str(EXAMPLE), "--json", **stores)
    assert (loaded.code, json.loads(loaded.out)) == (0, {"added": len(lines), "unchanged": 0})
    again = await holdfast("import", str(EXAMPLE), **stores)
    assert again.out == f"0 flights added, {len(lines)} unchanged\n"


async def test_an_import_finds_the_stack_that_runs_on_its_data_dir(
    empty_database: str, empty_redis: str, tmp_path: Path
) -> None:
    running.publish(tmp_path, empty_database, empty_redis)
    assert (tmp_path / "stores.json").stat().st_mode & 0o077 == 0
    assert (await holdfast("import", str(EXAMPLE), DATA_DIR=str(tmp_path))).code == 0
    running.withdraw(tmp_path)
    assert (await holdfast("import", str(EXAMPLE), DATA_DIR=str(tmp_path))).code == 2
