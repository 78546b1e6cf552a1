"""A bus that writes lines to standard output: one envelope per line, as compact JSON.

It writes to the descriptor without a buffer, so that an accepted line has left this process and a refused line
does not appear later. A thread writes, because a reader that stopped reading blocks the writer; until it
continues, every batch is refused.
"""

import asyncio
import json
import os
from collections.abc import Sequence
from concurrent.futures import Future
from threading import Thread

from app.outbox.model import Event
from app.outbox.publisher import Accepted, Outcome, Refused

STANDARD_OUTPUT = 1


class LogBus:
    def __init__(self, descriptor: int = STANDARD_OUTPUT) -> None:
        """The caller closes the descriptor."""
        self._descriptor = descriptor
        self._under_way: Future[list[Outcome]] | None = None
        self._torn = False  # the last line was written in part

    async def publish(self, batch: Sequence[Event]) -> Sequence[Outcome]:
        if self._under_way is not None and not self._under_way.done():
            return [Refused(retryable=True, reason="output_stalled")] * len(batch)
        lines = [_line(event) for event in batch]
        outcomes: Future[list[Outcome]] = Future()
        outcomes.set_running_or_notify_cancel()  # a cancelled caller does not stop the writing
        self._under_way = outcomes
        # A daemon thread, so that a reader that never continues cannot prevent this process from ending.
        Thread(target=self._write, args=(lines, outcomes), name="log-bus", daemon=True).start()
        return await asyncio.wrap_future(outcomes)

    async def close(self) -> None:
        pass

    def _write(self, lines: Sequence[bytes], outcomes: Future[list[Outcome]]) -> None:
        written: list[Outcome] = []
        for line in lines:
            refused = self._write_line(line)
            if refused is not None:
                written.extend([refused] * (len(lines) - len(written)))
                break
            written.append(Accepted())
        outcomes.set_result(written)

    def _write_line(self, line: bytes) -> Refused | None:
        rest = memoryview(b"\n" + line if self._torn else line)
        try:
            while rest:
                count = os.write(self._descriptor, rest)
                self._torn = count < len(rest)
                rest = rest[count:]
        except BrokenPipeError:
            return Refused(retryable=True, reason="broken_pipe")
        except OSError:
            return Refused(retryable=True, reason="output_failed")
        return None


def _line(event: Event) -> bytes:
    # ASCII alone: no character of the data can be read as the end of a line.
    return json.dumps(event.to_json(), separators=(",", ":"), allow_nan=False).encode() + b"\n"
