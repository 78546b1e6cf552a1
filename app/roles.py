"""What the long roles of `holdfast` run: the API, the relay, an import, the doctor's examination.

Settings come in and values go out; nothing is printed here but a bar of progress, and what is wrong is an
error for `cli` to say. Each role imports what it needs when it runs, as all of it together takes seconds.
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
    """Raises SettingsError where a worker would, or where a store may forget what was promised."""
    _share_metrics(settings)

    from app.main import check
    from app.telemetry.logging import configure_logging
    from app.wiring import refuse_unsafe

    configure_logging(settings.log_level.value)
    check(settings)
    asyncio.run(refuse_unsafe(settings))


def serve_api(settings: Settings) -> None:
    """Until told to stop, and drained."""
    import uvicorn

    end_well_when_told()  # uvicorn raises the signal again after it has drained
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
    """Until told to stop. Raises SettingsError where the database may forget, or no bus can be had."""
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

    configure_logging("ERROR")  # where no hold store is open, opening it loads the flights
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

    configure_logging("CRITICAL")  # the findings say everything
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


def end_well_when_told() -> None:
    """To be told to stop is no failure. Nothing has begun, or all of it is over.

    At once, as an exception that a signal raises is lost where nothing can be raised: in the middle of an
    import, for one.
    """
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))


def _share_metrics(settings: Settings) -> None:
    """Workers add their numbers up through a folder; it must be named before they are defined."""
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
