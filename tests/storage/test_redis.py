"""Connections that are let go while others use them."""

import asyncio

import pytest
import uvloop

from app.storage.redis import UNREACHABLE, connect, reconnect

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
