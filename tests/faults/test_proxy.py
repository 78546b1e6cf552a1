"""A link fails as its mode says, and as a network would."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from typing import TypeVar

import pytest

from tests.faults.proxy import Address, Mode, Proxy

T = TypeVar("T")
Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]
SOON_SECONDS = 5.0
NEVER_SECONDS = 0.2


class Echo:
    """Repeats each line, with its name in front."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.heard: asyncio.Queue[bytes] = asyncio.Queue()
        self._server: asyncio.Server | None = None

    async def start(self) -> Address:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return Address("127.0.0.1", self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                self.heard.put_nowait(line)
                writer.write(self.name.encode() + b" " + line)
        except ConnectionError:
            pass
        finally:
            writer.close()


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    server = Echo("a")
    yield server
    server.close()


@pytest.fixture
async def proxy(echo: Echo) -> AsyncIterator[Proxy]:
    link = Proxy(await echo.start())
    await link.start()
    yield link
    await link.close()


@pytest.fixture
async def ends(proxy: Proxy) -> AsyncIterator[Ends]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    await _say(writer, b"hello\n")
    assert await _soon(reader.readline()) == b"a hello\n"
    yield reader, writer
    writer.close()


async def test_dropped_replies_are_of_requests_that_arrived(
    echo: Echo, proxy: Proxy, ends: Ends
) -> None:
    reader, writer = ends
    await _soon(echo.heard.get())
    proxy.set_mode(Mode.DROP_REPLIES)
    await _say(writer, b"lost\n")
    assert await _soon(echo.heard.get()) == b"lost\n"
    await _is_silent(reader)
    proxy.set_mode(Mode.PASS)
    await _is_reset(reader)


async def test_a_black_hole_takes_everything_and_is_reset_when_it_heals(
    echo: Echo, proxy: Proxy, ends: Ends
) -> None:
    reader, writer = ends
    await _soon(echo.heard.get())
    proxy.set_mode(Mode.BLACK_HOLE)
    await _say(writer, b"lost\n")
    await _is_silent(reader)
    assert echo.heard.empty()
    proxy.set_mode(Mode.PASS)
    await _is_reset(reader)


async def test_a_stall_loses_nothing(echo: Echo, proxy: Proxy, ends: Ends) -> None:
    reader, writer = ends
    proxy.set_mode(Mode.STALL)
    await _say(writer, b"one\n")
    await _say(writer, b"two\n")
    await _is_silent(reader)
    proxy.set_mode(Mode.PASS)
    assert await _soon(reader.readline()) == b"a one\n"
    assert await _soon(reader.readline()) == b"a two\n"


async def test_a_connection_made_in_a_stall_is_served_later(proxy: Proxy) -> None:
    proxy.set_mode(Mode.STALL)
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    await _say(writer, b"early\n")
    await _is_silent(reader)
    proxy.set_mode(Mode.PASS)
    assert await _soon(reader.readline()) == b"a early\n"
    writer.close()


async def test_a_delay_keeps_the_order(proxy: Proxy, ends: Ends) -> None:
    reader, writer = ends
    proxy.delay_seconds = 0.05
    started = asyncio.get_running_loop().time()
    for number in range(5):
        await _say(writer, b"%d\n" % number)
    received = [await _soon(reader.readline()) for _ in range(5)]
    assert received == [b"a %d\n" % number for number in range(5)]
    assert asyncio.get_running_loop().time() - started >= 0.1


async def test_a_redirected_link_leads_new_connections_elsewhere(proxy: Proxy, ends: Ends) -> None:
    reader, writer = ends
    other = Echo("b")
    proxy.redirect(await other.start())
    await _say(writer, b"old\n")
    assert await _soon(reader.readline()) == b"a old\n"
    assert proxy.cut() == 1
    await _is_reset(reader)
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    await _say(writer, b"new\n")
    assert await _soon(reader.readline()) == b"b new\n"
    writer.close()
    other.close()


async def test_an_unreachable_upstream_resets_the_connection(proxy: Proxy) -> None:
    proxy.redirect(Address("127.0.0.1", 1))
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    await _is_reset(reader)
    writer.close()
    assert proxy.connections == 0


async def test_an_end_is_passed_on_after_what_came_before_it(proxy: Proxy, ends: Ends) -> None:
    reader, writer = ends
    await _say(writer, b"last\n")
    assert await _soon(reader.readline()) == b"a last\n"
    writer.close()
    async with asyncio.timeout(SOON_SECONDS):
        while True:
            if proxy.connections == 0:
                return
            await asyncio.sleep(0.01)


async def _say(writer: asyncio.StreamWriter, line: bytes) -> None:
    writer.write(line)
    await writer.drain()


async def _soon(awaited: Awaitable[T]) -> T:
    return await asyncio.wait_for(awaited, SOON_SECONDS)


async def _is_silent(reader: asyncio.StreamReader) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), NEVER_SECONDS)


async def _is_reset(reader: asyncio.StreamReader) -> None:
    with suppress(ConnectionError):
        assert await _soon(reader.read()) == b""
