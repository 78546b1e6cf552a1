"""Connections that are let go while others use them."""

import asyncio

import pytest
import uvloop
from redis.asyncio import Redis

from app.storage.redis import (
    CHECKED_FOR_SECONDS,
    UNREACHABLE,
    UnsafeEviction,
    WrongIncarnation,
    _Checked,
    connect,
    incarnation_of,
    reconnect,
)
from tests.fixtures.servers import StartValkey

ROUNDS = 100


async def test_whoever_is_at_work_is_answered_while_connections_are_made_anew(
    redis_url: str,
) -> None:
    client = connect(redis_url)
    before = await client.client_id()
    done = asyncio.Event()

    async def ask(number: int) -> None:
        while not done.is_set():
            assert await client.echo(str(number)) == str(number).encode()

    asking = [asyncio.create_task(ask(number)) for number in range(8)]
    for _ in range(ROUNDS):
        await reconnect(client)
        await asyncio.sleep(0)
    done.set()
    await asyncio.gather(*asking)
    await reconnect(client)
    assert await client.client_id() > before
    await client.aclose()


def test_a_connection_that_is_lost_just_before_it_is_used_is_no_surprise(redis_url: str) -> None:
    """On the loop that serves: it calls such a connection a RuntimeError, which the client passes on."""

    async def lose_and_ask() -> None:
        client = connect(redis_url)
        await client.echo("a")
        (connection,) = client.connection_pool._available_connections
        assert connection._writer is not None, "it is connected"
        connection._writer.transport.abort()
        with pytest.raises(UNREACHABLE):
            await client.echo("b")
        assert await client.echo("c") == b"c"
        await client.aclose()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(lose_and_ask())


async def under_a_living_connection(client: Redis, *commands: tuple[str, ...]) -> None:
    """Sends what changes the server over the client's own connection, and lets its verdict grow old."""
    before = await client.client_id()
    for command in commands:
        await client.execute_command(*command)  # type: ignore[no-untyped-call]
    (connection,) = client.connection_pool._available_connections
    assert isinstance(connection, _Checked)
    assert await client.client_id() == before, "it lives on"
    connection._checked_at -= CHECKED_FOR_SECONDS


async def test_a_server_set_to_evict_is_refused_on_a_living_connection(
    start_valkey: StartValkey,
) -> None:
    client = connect((await start_valkey()).url)
    await under_a_living_connection(client, ("CONFIG", "SET", "maxmemory-policy", "allkeys-lru"))
    with pytest.raises(UnsafeEviction, match="maxmemory-policy allkeys-lru"):
        await client.echo("a")
    with pytest.raises(UnsafeEviction):
        await client.echo("a")
    await client.aclose()


async def test_a_primary_that_was_demoted_is_refused_on_a_living_connection(
    start_valkey: StartValkey,
) -> None:
    client = connect((await start_valkey()).url)
    await under_a_living_connection(client, ("REPLICAOF", "127.0.0.1", "1"))
    with pytest.raises(WrongIncarnation):
        await client.echo("a")
    await client.aclose()


async def test_another_history_is_refused_on_a_living_connection(start_valkey: StartValkey) -> None:
    """Demoted and promoted again: it is a primary, and what it has may be another's."""
    url = (await start_valkey()).url
    expected: str | None = None
    client = connect(url, lambda: expected)
    expected = await incarnation_of(client)
    await under_a_living_connection(client, ("REPLICAOF", "127.0.0.1", "1"))
    keeper = Redis.from_url(url)
    await keeper.execute_command("REPLICAOF", "NO", "ONE")  # type: ignore[no-untyped-call]
    await keeper.aclose()
    with pytest.raises(WrongIncarnation):
        await client.echo("a")
    expected = None
    assert await client.echo("a") == b"a"
    await client.aclose()


async def test_a_connection_lost_while_it_lay_idle_is_made_anew(start_valkey: StartValkey) -> None:
    server = await start_valkey()
    client = connect(server.url)
    await client.echo("a")
    await server.stop()
    await server.start()
    (connection,) = client.connection_pool._available_connections
    assert isinstance(connection, _Checked)
    connection._checked_at -= CHECKED_FOR_SECONDS
    assert await client.echo("b") == b"b"
    await client.aclose()
