"""The load generator's reading of HTTP/1.1, of bytes in any pieces and from a real server."""

import asyncio
import itertools

import pytest
import uvicorn
from fastapi import FastAPI, Response
from hypothesis import given
from hypothesis import strategies as st

from app.dev.data_dir import free_port
from benchmarks.answers import Answer, Answers, BadAnswer

_BYTES = (
    b"HTTP/1.1 201 Created\r\nContent-Length: 4\r\nLocation: /v1/holds/hold_a\r\n\r\nabcd"
    b"HTTP/1.1 204 No Content\r\nx-request-id: 1\r\n\r\n"
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 2\r\ncontent-length: 0\r\n\r\n"
)


@given(cuts=st.lists(st.integers(0, len(_BYTES)), max_size=12).map(sorted))
def test_answers_are_the_same_in_whatever_pieces_they_come(cuts: list[int]) -> None:
    answers = Answers()
    edges = [0, *cuts, len(_BYTES)]
    found = [
        answer
        for start, end in itertools.pairwise(edges)
        for answer in answers.feed(_BYTES[start:end])
    ]
    assert [(one.status, one.body) for one in found] == [(201, b"abcd"), (204, b""), (503, b"")]
    assert found[0].header(b"location") == b"/v1/holds/hold_a"
    assert found[0].header(b"retry-after") is None
    assert found[2].header(b"retry-after") == b"2"


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    ],
)
def test_what_cannot_be_read_is_said(data: bytes) -> None:
    with pytest.raises(BadAnswer):
        Answers().feed(data)


async def test_answers_of_a_real_server() -> None:
    app = FastAPI()

    @app.post("/things", status_code=201)
    async def make(response: Response) -> dict[str, str]:
        response.headers["Location"] = "/things/1"
        return {"id": "x" * 100_000}

    @app.delete("/things/{number}", status_code=204)
    async def remove(number: int) -> None:
        pass

    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(app, port=port, http="httptools", log_config=None, lifespan="off")
    )
    serving = asyncio.create_task(server.serve())
    try:
        reader, writer = await _connection(port)
        writer.write(
            b"POST /things HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
            b"DELETE /things/1 HTTP/1.1\r\nHost: x\r\n\r\n"
            b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        answers, found = Answers(), list[Answer]()
        while len(found) < 3:
            found += answers.feed(await asyncio.wait_for(reader.read(4096), 5))
        writer.close()
    finally:
        server.should_exit = True
        await serving
    assert [one.status for one in found] == [201, 204, 404]
    assert len(found[0].body) == 100_000 + len('{"id":""}')
    assert found[0].header(b"location") == b"/things/1"


async def _connection(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    async with asyncio.timeout(10):
        while True:
            try:
                return await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)
