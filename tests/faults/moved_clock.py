"""Runs one `holdfast ROLE` whose clock another process can move while it runs.

    python -m tests.faults.moved_clock CLOCK_FILE ROLE

The file is eight bytes: by how many seconds the role's clock is wrong, as a native double. It stands
in the place of the wall clock that the program takes as an argument and of `time.time`; clocks that
only measure durations are left alone, as a step of a machine's wall clock would leave them. The
clocks of Redis and Postgres are inside those programs and cannot be moved from here.
"""

import mmap
import struct
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

_DOUBLE = struct.Struct("=d")


def move(file: Path, seconds: float) -> None:
    """Makes the clock wrong by that much from now on; 0 makes it right."""
    with file.open("r+b" if file.exists() else "w+b") as opened:
        opened.write(_DOUBLE.pack(seconds))


def main(file: Path, role: str) -> None:
    _put_in_place(file)
    from app.cli import main as run  # late: whoever imports the clock gets this one

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
