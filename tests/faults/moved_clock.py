"""Runs one `holdfast ROLE` whose clock another process can move while it runs.

    python -m tests.faults.moved_clock CLOCK_FILE ROLE

The file has eight bytes: the offset of the role's clock in seconds, as a native double. The moved clock
replaces the wall clock that the program takes as an argument, and `time.time`. Clocks that only measure
durations are unchanged, as they are when a machine's wall clock is set. The clocks of Redis and PostgreSQL
cannot be moved.
"""

import mmap
import struct
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

_DOUBLE = struct.Struct("=d")


def move(file: Path, seconds: float) -> None:
    """Set the offset of the clock from now on; 0 is the true time."""
    with file.open("r+b" if file.exists() else "w+b") as opened:
        opened.write(_DOUBLE.pack(seconds))


def main(file: Path, role: str) -> None:
    _put_in_place(file)
    from app.cli import main as run  # imported late, so that it gets the moved clock

    sys.argv = ["holdfast", role]
    run()


def _put_in_place(file: Path) -> None:
    with file.open("rb") as opened:
        offset = mmap.mmap(opened.fileno(), _DOUBLE.size, prot=mmap.PROT_READ)
    right = time.time

    def wrong() -> float:
        (seconds,) = _DOUBLE.unpack_from(offset)
        return right() + float(seconds)

    import app.clock

    time.time = wrong
    app.clock.utc_now = lambda: datetime.fromtimestamp(wrong(), UTC)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
