#!/usr/bin/env python3
"""Runs `holdfast` as process 1 of the image, where the kernel would otherwise ignore SIGTERM.

The kernel drops a signal to process 1 that nobody handles. The API and the relay take SIGTERM over
once they are up, and drain; until then, and in roles that just run to their end, it ends the
process. What a worker leaves behind is reaped by the API's own supervisor.
"""

import signal
import sys
from types import FrameType
from typing import NoReturn

SERVICES = ("api", "relay")


def end(number: int, _: FrameType | None) -> NoReturn:
    # A stopped service has succeeded; an interrupted task has not.
    sys.exit(0 if sys.argv[1:2] and sys.argv[1] in SERVICES else 128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, end)

    from app.cli import main

    main()
