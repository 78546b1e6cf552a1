"""The terminal of `holdfast dev`: nothing that is said on it may ever hold up what it speaks of.

A reader that has stopped reading (a pipe nobody empties, a suspended terminal) would otherwise block
the supervisor, and through it every child. So lines go through a bounded queue to a thread, and are
dropped when it is full.
"""

import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_QUEUE_CHUNKS = 256
_OUT, _ERR = 1, 2


class Console:
    def __init__(self) -> None:
        self._chunks: queue.Queue[tuple[int, bytes]] = queue.Queue(_QUEUE_CHUNKS)
        self._writing = threading.Thread(target=self._write, name="console", daemon=True)
        self._writing.start()

    def say(self, text: str) -> None:
        """What the person asked for, on standard output."""
        self.pass_on(_OUT, f"{text}\n".encode())

    def tell(self, text: str) -> None:
        """What is going on, on standard error."""
        self.pass_on(_ERR, f"{text}\n".encode())

    def pass_on(self, descriptor: int, chunk: bytes) -> None:
        with suppress(queue.Full):
            self._chunks.put_nowait((descriptor, chunk))

    def flush(self, patience_seconds: float = 1.0) -> None:
        deadline = time.monotonic() + patience_seconds
        while self._chunks.unfinished_tasks and time.monotonic() < deadline:
            time.sleep(0.01)

    @contextmanager
    def progress(self, what: str) -> Iterator[Callable[[int, int], None]]:
        """Gives a callable that takes (done, total): a bar on a terminal, else a line a quarter."""
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
        told = 0

        def report(done: int, total: int) -> None:
            nonlocal told
            quarter = 4 * done // total if total else 0
            if quarter > told:
                told = quarter
                self.tell(f"{what}: {25 * quarter} %")

        return report

    def _write(self) -> None:
        while True:
            descriptor, chunk = self._chunks.get()
            with suppress(OSError):  # a terminal that is gone
                while chunk:
                    chunk = chunk[os.write(descriptor, chunk) :]
            self._chunks.task_done()
