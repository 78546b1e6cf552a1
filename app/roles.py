"""The long-running roles of `holdfast`: the API, the relay, an import, the doctor's examination.

Each takes settings and returns values. A role prints nothing but a progress bar; `cli` prints its errors. Each
imports what it needs when it runs, because importing everything takes seconds.
"""

import asyncio
import os
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from app.settings import Settings

if TYPE_CHECKING:
    from app.doctor.model import Finding

DRAIN_SECONDS = 15


def prepare_api(settings: Settings) -> None:
    """Raises SettingsError if a worker would, or if a store may lose what it confirmed."""
    _share_metrics(settings)

    from app.main import check
    from app.telemetry.logging import configure_logging
    from app.wiring import refuse_unsafe

    configure_logging(settings.log_level.value)
    check(settings)
    asyncio.run(refuse_unsafe(settings))


def serve_api(settings: Settings) -> None:
    """Serves until it is stopped and drained."""
    import uvicorn

    exit_cleanly_on_sigterm()  # uvicorn raises the signal again after it has drained
    uvicorn.run(
        "app.main:create",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        loop="uvloop",
        http="httptools",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )


def run_relay(settings: Settings) -> None:
    """Publishes until it is stopped. Raises SettingsError if the database may lose data, or without a bus."""
    from app.telemetry.logging import configure_logging

    configure_logging(settings.log_level.value)
    from app.wiring import refuse_unsafe

    asyncio.run(refuse_unsafe(settings, with_holds=False))
    asyncio.run(_relay(settings))


async def import_flights(settings: Settings, file: Path) -> tuple[int, int]:
    from rich.console import Console
    from rich.progress import Progress

    from app.schedule.importer import import_file
    from app.telemetry.logging import configure_logging
    from app.wiring import core_of

    configure_logging("ERROR")  # without an open epoch, opening one loads the flights
    core = core_of(settings)
    try:
        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(f"importing {file.name}")

            def progress(done: int, total: int) -> None:
                bar.update(task, completed=done, total=total)

            report = await import_file(core.database, file, core.availability.apply, progress)
    finally:
        await core.close()
    return report.added, report.unchanged


async def examine(settings: Settings, *, repairs: bool) -> "list[Finding]":
    from app.telemetry.logging import configure_logging
    from app.wiring import core_of, doctor_of

    configure_logging("CRITICAL")  # the findings contain everything
    core = core_of(settings)
    assert settings.database_url is not None
    assert settings.redis_url is not None
    try:
        return await doctor_of(settings, core).examine(
            settings.database_url.get_secret_value(),
            settings.redis_url.get_secret_value(),
            repairs=repairs,
        )
    finally:
        await core.close()


def exit_cleanly_on_sigterm() -> None:
    """Makes SIGTERM end the process at once with exit code 0, while no work is under way.

    An exception raised by a signal handler would be lost in some places, such as the middle of an import.
    """
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))


def _share_metrics(settings: Settings) -> None:
    """Creates the folder in which workers add up their metrics; metrics are defined after it is named."""
    folder = settings.data_dir / "metrics"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder.resolve())


async def _relay(settings: Settings) -> None:
    from prometheus_client import start_http_server

    from app.clock import utc_now
    from app.outbox.relay import Relay
    from app.wiring import database_of, publisher_of

    database, publisher = database_of(settings), publisher_of(settings)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    if settings.metrics_port is not None:
        start_http_server(settings.metrics_port, addr=settings.host)
    try:
        await Relay(database, publisher, utc_now).run(stop)
    finally:
        await publisher.close()
        await database.close()
