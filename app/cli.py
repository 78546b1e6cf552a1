"""`holdfast ROLE`: one program, one role a process. What is wrong is said in one line."""

import asyncio
import json
import os
import shutil
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from app import __version__
from app.errors import DomainError
from app.settings import Environment, Settings, SettingsError

if TYPE_CHECKING:
    from app.doctor.model import Finding

EXIT_BROKEN = 2
DRAIN_SECONDS = 15

app = typer.Typer(
    name="holdfast",
    help="Seat inventory that never sells a seat twice.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
Host = Annotated[str | None, typer.Option(help="Address to listen on; as HOST.")]
Json = Annotated[bool, typer.Option("--json", help="Answer in JSON, for scripts.")]


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
def dev(host: Host = None) -> None:
    """Everything on this machine: embedded servers, sample network, API, relay and issuer."""
    from app.dev.supervisor import run_dev

    settings = _settings(host)
    raise typer.Exit(asyncio.run(run_dev(settings)))


@app.command()
def api(host: Host = None) -> None:
    """The HTTP API, in WORKERS processes."""
    settings = _settings(host)
    _share_metrics(settings)

    import uvicorn

    from app.main import check
    from app.telemetry import configure_logging
    from app.wiring import refuse_unsafe

    configure_logging(settings.log_level.value)
    try:
        check(settings)
        asyncio.run(refuse_unsafe(settings))
    except SettingsError as error:
        _fail(str(error))
    _end_well_when_told()  # uvicorn raises the signal again after it has drained
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


@app.command()
def relay() -> None:
    """Publishes what the outbox holds to EVENT_BUS; any number may run, one of them works."""
    _end_well_when_told()  # until there is work to finish first
    settings = _settings()
    from app.telemetry import configure_logging

    configure_logging(settings.log_level.value)
    from app.wiring import refuse_unsafe

    try:
        asyncio.run(refuse_unsafe(settings, with_holds=False))
        asyncio.run(_relay(settings))
    except SettingsError as error:
        _fail(str(error))


@app.command()
def migrate() -> None:
    """Brings the tables of DATABASE_URL to the present shape."""
    settings = _settings()
    if settings.database_url is None:
        _fail("DATABASE_URL: needed to migrate; `holdfast dev` migrates its own")
    from app.storage.migrations import upgrade

    try:
        upgrade(settings.database_url.get_secret_value())
    except Exception as error:
        _fail(f"the tables could not be brought up to date: {_first_line(error)}")
    typer.echo("the tables are up to date", err=True)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="A CSV file; its columns: docs/import.md")],
    as_json: Json = False,
) -> None:
    """Loads flights from FILE: all of them, or none and the reasons.

    Into DATABASE_URL and REDIS_URL, or into the `holdfast dev` that runs on DATA_DIR.
    """
    settings = _with_running_stores(_settings())
    from app.schedule.errors import ImportRefused

    try:
        added, unchanged = asyncio.run(_import(settings, file))
    except ImportRefused as refused:
        if as_json:
            reasons = [{"line": number, "reason": reason} for number, reason in refused.lines]
            typer.echo(json.dumps({"bad_lines": refused.bad_lines, "reasons": reasons}))
        else:
            for number, reason in refused.lines:
                typer.echo(f"{file}:{number}: {reason}", err=True)
        _fail(str(refused))
    except OSError as error:
        _fail(f"{file}: {error.strerror}")
    except (SettingsError, DomainError) as error:
        _fail(str(error))
    if as_json:
        typer.echo(json.dumps({"added": added, "unchanged": unchanged}))
    else:
        typer.echo(f"{added} flights added, {unchanged} known before")


@app.command()
def doctor(
    as_json: Json = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend what Redis and PostgreSQL differ in.")
    ] = False,
) -> None:
    """Says what endangers the promises of this deployment, why, and the fix; 1 where anything does."""
    settings = _with_running_stores(_settings())
    from app.doctor.model import is_dangerous, verdict
    from app.telemetry import configure_logging

    configure_logging("CRITICAL")  # everything is said below
    try:
        findings = asyncio.run(_examine(settings, repairs=repair))
    except SettingsError as error:
        _fail(str(error))
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "findings": [asdict(found) for found in findings],
                    "verdict": verdict(findings),
                    "dangerous": is_dangerous(findings),
                },
                indent=2,
            )
        )
    else:
        for found in findings:
            typer.echo(found.line)
        typer.echo(verdict(findings))
    raise typer.Exit(1 if is_dangerous(findings) else 0)


@app.command()
def sample() -> None:
    """Tops the sample network up to sixty days ahead, as `holdfast dev` does."""
    settings = _with_running_stores(_settings())
    if settings.environment is Environment.PRODUCTION:
        _fail("the sample network is refused where ENVIRONMENT=production")
    from app.dev.errors import CannotStartError
    from app.dev.loading import load_sample

    try:
        added = asyncio.run(load_sample(settings, lambda done, total: None))
    except (SettingsError, CannotStartError) as error:
        _fail(str(error))
    typer.echo(f"sample network: {added} flights added", err=True)


@app.command()
def token(
    client: Annotated[str, typer.Option(help="demo, rival, ops or limited.")] = "demo",
    as_json: Json = False,
) -> None:
    """A token of the development issuer, for curl."""
    settings = _settings()
    if not settings.serves_dev_identity:
        _fail("DEV_IDENTITY: the development issuer is off; ask your identity provider")
    from app.clock import utc_now
    from app.dev.issuer import mint_token
    from app.main import dev_issuer_url

    try:
        minted = mint_token(settings.data_dir, dev_issuer_url(settings), client, utc_now)
    except ValueError as error:
        _fail(str(error))
    typer.echo(json.dumps({"access_token": minted, "token_type": "Bearer"}) if as_json else minted)


def main() -> None:
    app()


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


async def _examine(settings: Settings, *, repairs: bool) -> "list[Finding]":
    from app.wiring import core_of, doctor_of

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


async def _import(settings: Settings, file: Path) -> tuple[int, int]:
    from rich.console import Console
    from rich.progress import Progress

    from app.schedule.importer import import_file
    from app.telemetry import configure_logging
    from app.wiring import core_of

    configure_logging("ERROR")  # where no hold store is open, opening it loads the flights
    core = core_of(settings)
    try:
        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(f"importing {file.name}")

            def progress(done: int, total: int) -> None:
                bar.update(task, completed=done, total=total)

            report = await import_file(core.database, file, core.live.apply, progress)
    finally:
        await core.close()
    return report.added, report.unchanged


def _settings(host: str | None = None) -> Settings:
    environ = dict(os.environ)
    if host is not None:
        environ["HOST"] = host
    try:
        settings = Settings.from_environment(environ)
    except SettingsError as error:
        _fail(str(error))
    os.environ.update({"HOST": settings.host})  # workers read the environment again
    return settings


def _with_running_stores(settings: Settings) -> Settings:
    from app.dev.running import with_running_stores

    return with_running_stores(settings)


def _share_metrics(settings: Settings) -> None:
    """Workers add their numbers up through a folder; it must be named before they are defined."""
    folder = settings.data_dir / "metrics"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder.resolve())


def _end_well_when_told() -> None:
    """To be told to stop is no failure. Nothing has begun, or all of it is over.

    At once, as an exception that a signal raises is lost where nothing can be raised: in the middle of an
    import, for one.
    """
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _fail(line: str) -> NoReturn:
    typer.echo(f"holdfast: {line}", err=True)
    sys.exit(EXIT_BROKEN)


if __name__ == "__main__":
    main()
