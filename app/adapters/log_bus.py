"""The bus that is a stream of lines: one envelope a line, as compact JSON, on standard output.

Writes straight to the descriptor, so that an accepted line has left this process and a refused one
is not kept in a buffer to appear later. Writing happens in a thread of its own, because a reader that
stopped reading stops the writer; while it does, everything is refused.
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
        """The descriptor stays the caller's to close."""
        self._descriptor = descriptor
        self._under_way: Future[list[Outcome]] | None = None
        self._torn = False  # the last line was cut off

    async def publish(self, batch: Sequence[Event]) -> Sequence[Outcome]:
        if self._under_way is not None and not self._under_way.done():
            return [Refused(retryable=True, reason="output_stalled")] * len(batch)
        lines = [_line(event) for event in batch]
        outcomes: Future[list[Outcome]] = Future()
        outcomes.set_running_or_notify_cancel()  # a caller that gives up does not stop the writing
        self._under_way = outcomes
        # A daemon, so that a reader that never reads again cannot keep this process from ending.
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
    # ASCII alone: no character of the data can be taken for the end of a line.
    return json.dumps(event.to_json(), separators=(",", ":"), allow_nan=False).encode() + b"\n"
