"""The embedded Valkey, and every other Redis-compatible server that this machine has."""

import os
import signal
from pathlib import Path

import pytest
import redis.asyncio
import redis.exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from app.dev.errors import CannotStartError
from app.dev.valkey import Valkey
from tests.fixtures.servers import StartValkey


async def test_it_keeps_what_it_is_told_and_evicts_nothing(start_valkey: StartValkey) -> None:
    server = await start_valkey()
    async with redis.asyncio.Redis.from_url(server.url, decode_responses=True) as client:
        expected = {
            "appendonly": "yes",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
            "save": "",
            "bind": "127.0.0.1",
        }
        assert {name: (await client.config_get(name))[name] for name in expected} == expected


async def test_it_asks_for_its_password(start_valkey: StartValkey) -> None:
    server = await start_valkey()
    async with redis.asyncio.Redis(port=server.port, retry=Retry(NoBackoff(), 0)) as client:
        with pytest.raises(redis.exceptions.AuthenticationError):
            await client.ping()
    configuration = server.log.parents[1] / "valkey.conf"
    assert configuration.stat().st_mode & 0o777 == 0o600


async def test_it_comes_back_with_its_data(start_valkey: StartValkey) -> None:
    server = await start_valkey()
    async with redis.asyncio.Redis.from_url(server.url) as client:
        await client.set("kept", "7")
    assert server.child is not None
    await server.stop()

    again = await start_valkey(data_dir=server.log.parents[1])
    async with redis.asyncio.Redis.from_url(again.url) as client:
        assert await client.get("kept") == b"7"


async def test_it_starts_again_after_a_kill(start_valkey: StartValkey) -> None:
    server = await start_valkey()
    assert server.child is not None
    os.kill(server.child.process.pid, signal.SIGKILL)
    await server.child.wait()
    await start_valkey(data_dir=server.log.parents[1])


async def test_why_it_does_not_start_is_one_line(valkey: Valkey, servers_folder: Path) -> None:
    taken = Valkey(servers_folder / "taken", valkey.port)
    with pytest.raises(CannotStartError, match="did not start") as refusal:
        await taken.start()
    assert "\n" not in str(refusal.value)


async def test_every_server_of_this_machine_can_be_used(
    start_valkey: StartValkey, redis_server_binaries: list[Path]
) -> None:
    for binary in redis_server_binaries:
        server = await start_valkey(binary=binary)
        async with redis.asyncio.Redis.from_url(server.url) as client:
            assert await client.eval("return 7", 0) == 7
