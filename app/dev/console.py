"""The terminal of `holdfast dev`. Writing to it never blocks the caller.

A reader that has stopped reading (a full pipe, a suspended terminal) would otherwise block the supervisor, and
through it every child. So lines go through a bounded queue to a thread, and are dropped when it is full.
"""

import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_QUEUE_CHUNKS = 256  # more than the start of all roles writes while the terminal is busy
_OUT, _ERR = 1, 2


class Console:
    def __init__(self) -> None:
        self._chunks: queue.Queue[tuple[int, bytes]] = queue.Queue(_QUEUE_CHUNKS)
        self._writing = threading.Thread(target=self._write_all, name="console", daemon=True)
        self._writing.start()

    def print(self, text: str) -> None:
        """Writes a result, to standard output."""
        self.write(_OUT, f"{text}\n".encode())

    def log(self, text: str) -> None:
        """Writes progress and errors, to standard error."""
        self.write(_ERR, f"{text}\n".encode())

    def write(self, descriptor: int, chunk: bytes) -> None:
        with suppress(queue.Full):
            self._chunks.put_nowait((descriptor, chunk))

    def flush(self, timeout_seconds: float = 1.0) -> None:
        deadline = time.monotonic() + timeout_seconds
        while self._chunks.unfinished_tasks and time.monotonic() < deadline:
            time.sleep(0.01)

    @contextmanager
    def progress(self, what: str) -> Iterator[Callable[[int, int], None]]:
        """Yields a function of (done, total): a bar on a terminal, else a line for each quarter."""
        if not os.isatty(_ERR):
            yield self._quarters(what)
            return
        import rich.console
        import rich.progress

        self.flush()
        with rich.progress.Progress(
            console=rich.console.Console(stderr=True), transient=True
        ) as bar:
            task = bar.add_task(what, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)

    def _quarters(self, what: str) -> Callable[[int, int], None]:
        logged = 0

        def report(done: int, total: int) -> None:
            nonlocal logged
            quarter = 4 * done // total if total else 0
            if quarter > logged:
                logged = quarter
                self.log(f"{what}: {25 * quarter} %")

        return report

    def _write_all(self) -> None:
        while True:
            descriptor, chunk = self._chunks.get()
            with suppress(OSError):  # the terminal was closed
                while chunk:
                    chunk = chunk[os.write(descriptor, chunk) :]
            self._chunks.task_done()
