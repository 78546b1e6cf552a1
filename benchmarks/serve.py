"""`python -m benchmarks.serve NAME`: one of the programs that Holdfast is measured against or with.

HTTP is served with the options of `holdfast api`. `relay` is the real relay before a bus that takes
everything and writes down how old each event was; it prints that when it is told to stop.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import uvicorn
import uvloop
from starlette.types import ASGIApp

from app.clock import utc_now
from app.outbox.model import Event
from app.outbox.publisher import Accepted, Outcome
from app.outbox.relay import Relay
from app.roles import DRAIN_SECONDS
from app.settings import Settings
from app.storage.database import Database
from benchmarks import apps

NAMES = ("bare-hold", "bare-offers", "unshared", "trivial", "relay")


class StampingBus:
    """Takes everything and remembers how long each event took from its change to here."""

    def __init__(self) -> None:
        self.lags_ms: list[float] = []

    async def publish(self, batch: Sequence[Event]) -> Sequence[Outcome]:
        now = utc_now()
        self.lags_ms += (1000 * (now - event.occurred_at).total_seconds() for event in batch)
        return [Accepted()] * len(batch)

    async def close(self) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serve", description=__doc__)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--bytes", type=Path, help="what bare-offers answers")
    parser.add_argument("--lags", type=Path, help="where relay leaves its figures")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    port = int(os.environ["PORT"])
    match given.name:
        case "bare-hold":
            _serve(apps.bare_hold(), port)
        case "bare-offers":
            _serve(apps.bare_offers(given.bytes.read_bytes()), port)
        case "unshared":
            _serve(apps.unshared(Settings.from_environment(os.environ)), port)
        case "trivial":
            uvloop.run(_trivial(port))
        case "relay":
            uvloop.run(_relay(given.lags))


def _serve(app: ASGIApp, port: int) -> None:
    """As app/roles.py does."""
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=port,
        loop="uvloop",
        http="httptools",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )


async def _trivial(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(apps.Trivial, "127.0.0.1", port)
    await server.serve_forever()


async def _relay(lags: Path) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    database, bus = Database(os.environ["DATABASE_URL"]), StampingBus()
    try:
        await Relay(database, bus, utc_now).run(stop)
    finally:
        await database.close()
        await asyncio.to_thread(lags.write_text, json.dumps(bus.lags_ms))


if __name__ == "__main__":
    main()
