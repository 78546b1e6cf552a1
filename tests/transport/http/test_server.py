"""Over a real server and real sockets: what a client can do to a connection."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import httpx
import pytest
import uvicorn

from app.transport.http.application import Limits
from app.transport.http.pipeline import body
from tests.transport.http.tiny import GOOD, JSON, KEY, Tiny, tiny_app, until

HEAD = (
    b"POST /v1/holds HTTP/1.1\r\nHost: holdfast\r\nAuthorization: Bearer good\r\n"
    b"Idempotency-Key: k\r\nContent-Type: application/json\r\n"
)


@asynccontextmanager
async def served(tiny: Tiny, **limits: float) -> AsyncIterator[int]:
    config = uvicorn.Config(
        tiny_app(tiny, limits=Limits(**limits)),  # type: ignore[arg-type]  # ints are floats here
        port=0,
        log_config=None,
        http="httptools",
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await serving


async def exchange(port: int, *parts: bytes) -> tuple[int, dict[str, str], bytes]:
    """Sends raw bytes, reads one answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        with suppress(ConnectionError):
            for part in parts:
                writer.write(part)
                await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        return int(first.split()[1]), headers, body
    finally:
        writer.close()


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(content), content)


async def test_a_chunked_body_is_counted_while_it_is_read() -> None:
    tiny = Tiny()
    async with served(tiny) as port:
        fits = await exchange(
            port, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", chunk(b'{"name":'), chunk(b'"x"}'),
            b"0\r\n\r\n",
        )  # fmt: skip
        over = await exchange(
            port, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk(b" " * 8192)] * 9,
            b"0\r\n\r\n",
        )  # fmt: skip
    assert fits[0] == 201
    assert (over[0], json.loads(over[2])["code"]) == (413, "body_too_large")
    assert "connection" not in over[1]
    assert tiny.calls == ["create"]


async def test_a_body_without_end_closes_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "_DRAIN_SECONDS", 60)  # by its size, before its time
    async with served(Tiny()) as port, asyncio.timeout(5):
        status, headers, _ = await exchange(
            port, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk(b" " * 65_536)] * 18
        )
        assert (status, headers["connection"]) == (413, "close")


async def test_a_body_that_stalls_beyond_the_limit_is_answered() -> None:
    async with served(Tiny()) as port, asyncio.timeout(5):
        status, headers, _ = await exchange(
            port, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", chunk(b" " * 65_537)
        )
        assert (status, headers["connection"]) == (413, "close")


async def test_a_body_that_stalls_within_the_limit_meets_the_deadline() -> None:
    async with served(Tiny(), deadline_seconds=0.1) as port, asyncio.timeout(5):
        status, _, content = await exchange(port, HEAD + b"Content-Length: 100\r\n\r\n", b'{"name"')
    assert (status, json.loads(content)["code"]) == (503, "overloaded")


async def test_a_large_content_length_is_refused_before_the_body_is_requested() -> None:
    async with served(Tiny()) as port, asyncio.timeout(5):
        status, headers, _ = await exchange(
            port, HEAD + b"Content-Length: 100000000\r\nExpect: 100-continue\r\n\r\n"
        )
    assert (status, headers["connection"]) == (413, "close")


@pytest.mark.parametrize("size", [70_000, 900_000])
async def test_an_ordinary_client_can_read_its_413(size: int) -> None:
    async with served(Tiny()) as port, httpx.AsyncClient() as client:
        for _ in range(3):
            answer = await client.post(
                f"http://127.0.0.1:{port}/v1/holds",
                headers={**GOOD, **KEY, **JSON},
                content=b" " * size,
            )
            assert answer.status_code == 413
            assert "connection" not in answer.headers  # it was taken to its end


async def test_a_change_completes_after_its_client_has_disconnected() -> None:
    begun, go, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def change() -> None:
        begun.set()
        await go.wait()
        done.set()

    async with served(Tiny(change=change)) as port, asyncio.timeout(5):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b'Content-Length: 12\r\n\r\n{"name":"x"}')
        await begun.wait()
        writer.transport.abort()
        await asyncio.sleep(0)
        go.set()
        await done.wait()


async def test_a_shutdown_waits_for_changes_past_their_deadline() -> None:
    done = asyncio.Event()

    async def change() -> None:
        await asyncio.sleep(0.3)  # longer than the deadline, shorter than the drain
        done.set()

    async with served(Tiny(change=change), deadline_seconds=0.05, drain_seconds=5) as port:
        status, _, _ = await exchange(port, HEAD + b'Content-Length: 12\r\n\r\n{"name":"x"}')
        assert (status, done.is_set()) == (503, False)
    assert done.is_set()
