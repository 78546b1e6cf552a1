"""A relay in a process of its own, to be killed and frozen: its bus is a file that all relays append to.

`python -m tests.outbox.relay_process DATABASE_URL FILE LEASE_SECONDS [DIE_AT_BATCH]`: in the batch of
that number, counted from 1, it kills itself between publishing and marking. Until SIGTERM otherwise.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence

from app.clock import utc_now
from app.outbox.model import Event
from app.outbox.publisher import Accepted, Outcome
from app.outbox.relay import Relay, RelayTimings
from app.storage.database import Database


class FileBus:
    def __init__(self, path: str, die_at_batch: int) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._die_at_batch = die_at_batch
        self._batches = 0

    async def publish(self, batch: Sequence[Event]) -> Sequence[Outcome]:
        self._batches += 1
        for event in batch:
            line = {"by": os.getpid(), **event.to_json()}
            os.write(self._file, json.dumps(line).encode() + b"\n")
        if self._batches == self._die_at_batch:
            os.kill(os.getpid(), signal.SIGKILL)
        await asyncio.sleep(0.02)  # most of the time is spent where it hurts to be frozen
        return [Accepted()] * len(batch)

    async def close(self) -> None:
        os.close(self._file)


async def main(url: str, path: str, lease_seconds: float, die_at_batch: int = 0) -> None:
    database, bus, stop = Database(url), FileBus(path, die_at_batch), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    timings = RelayTimings(
        lease_seconds=lease_seconds,
        renew_seconds=lease_seconds / 5,
        publish_seconds=lease_seconds / 2,
        standby_seconds=0.02,
    )
    await Relay(database, bus, utc_now, timings=timings, batch_size=5).run(stop)
    await bus.close()
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3]), *map(int, sys.argv[4:])))
