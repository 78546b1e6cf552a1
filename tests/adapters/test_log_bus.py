"""Standard output as a bus: lines whole, readers that go away, readers that stop reading."""

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from app.adapters.log_bus import LogBus
from app.outbox.publisher import Accepted, Refused
from tests.builders.facts import a_fact, an_event

STALLED = Refused(retryable=True, reason="output_stalled")
BROKEN = Refused(retryable=True, reason="broken_pipe")
LARGE = an_event(a_fact("bkg_large", data={"filling": "x" * 300_000}))  # more than a pipe holds


@dataclass
class Pipe:
    output: int
    written: int

    def close_output(self) -> None:
        os.close(self.output)
        self.output = -1

    async def line(self) -> bytes:
        """The next whole line, read as slowly as it comes."""
        return await asyncio.to_thread(self._line)

    def _line(self) -> bytes:
        line = bytearray()
        while (byte := os.read(self.output, 1)) not in (b"\n", b""):
            line += byte
        return bytes(line)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe(*os.pipe())
    yield pipe
    os.close(pipe.written)
    if pipe.output >= 0:
        pipe.close_output()


async def test_one_envelope_is_one_line_of_compact_json(pipe: Pipe) -> None:
    event = an_event(a_fact(data={"text": "é\n\u2028"}))
    await LogBus(pipe.written).publish([event])
    line = await pipe.line()
    assert line.isascii()
    assert line.startswith(b'{"id":"evt_')
    assert json.loads(line) == event.to_json()


async def test_a_reader_that_went_away_refuses_everything(pipe: Pipe) -> None:
    bus = LogBus(pipe.written)
    assert await bus.publish([an_event()]) == [Accepted()]
    pipe.close_output()
    assert await bus.publish([an_event()] * 3) == [BROKEN] * 3
    assert await bus.publish([an_event()]) == [BROKEN]


async def test_what_left_before_the_break_is_accepted(pipe: Pipe) -> None:
    bus = LogBus(pipe.written)
    publishing = asyncio.create_task(_outcomes(bus))
    await pipe.line()
    await asyncio.to_thread(os.read, pipe.output, 1)  # the large one is being written
    pipe.close_output()
    assert await publishing == [Accepted(), BROKEN, BROKEN]


async def test_a_reader_that_stopped_refuses_at_once_until_it_reads_again(pipe: Pipe) -> None:
    bus = LogBus(pipe.written)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await bus.publish([LARGE])
    assert await bus.publish([an_event()] * 2) == [STALLED] * 2
    assert json.loads(await pipe.line()) == LARGE.to_json()
    async with asyncio.timeout(5):
        while await bus.publish([an_event()]) == [STALLED]:  # noqa: ASYNC110 - a thread is ending
            await asyncio.sleep(0.001)
    assert json.loads(await pipe.line()) == an_event().to_json()


async def test_a_line_that_was_cut_off_spoils_no_other(pipe: Pipe) -> None:
    os.set_blocking(pipe.written, False)  # a full pipe then cuts a line off
    bus = LogBus(pipe.written)
    assert await bus.publish([LARGE]) == [Refused(retryable=True, reason="output_failed")]
    os.set_blocking(pipe.written, True)
    publishing = asyncio.create_task(bus.publish([an_event()]))
    assert LARGE.to_json()["id"].encode() in await pipe.line()
    assert json.loads(await pipe.line()) == an_event().to_json()
    assert await publishing == [Accepted()]


async def test_a_reader_that_never_reads_does_not_keep_the_process_from_ending(pipe: Pipe) -> None:
    program = """
import asyncio
from app.adapters.log_bus import LogBus
from tests.builders.facts import a_fact, an_event

async def main():
    event = an_event(a_fact(data={"filling": "x" * 300_000}))
    try:
        await asyncio.wait_for(LogBus().publish([event]), 0.05)
    except TimeoutError:
        return
    raise AssertionError("the pipe was meant to fill up")

asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=pipe.written
    )
    try:
        assert await asyncio.wait_for(process.wait(), 20) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _outcomes(bus: LogBus) -> list[Accepted | Refused]:
    return list(await bus.publish([an_event(), LARGE, an_event()]))
