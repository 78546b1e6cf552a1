"""Connections that are let go while others use them."""

import asyncio

from app.storage.redis import connect, reconnect

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
