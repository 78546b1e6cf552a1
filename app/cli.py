"""`holdfast COMMAND`: one program, one role for each process. An error is one line that says what to do.

This module has the commands, their arguments and their output; `roles` runs the long ones. A command imports
what it needs when it runs, so that `--help` is fast.
"""

import asyncio
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from app import __version__, roles
from app.errors import DomainError
from app.settings import Environment, Settings, SettingsError

EXIT_BROKEN = 2

app = typer.Typer(
    name="holdfast",
    help="Seat inventory that never sells a seat twice.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
Host = Annotated[str | None, typer.Option(help="Address to listen on. Overrides HOST.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
def dev(host: Host = None) -> None:
    """Run everything on this machine: embedded servers, sample network, API, relay and issuer."""
    from app.dev.supervisor import run_dev

    settings = _settings(host)
    raise typer.Exit(asyncio.run(run_dev(settings)))


@app.command()
def api(host: Host = None) -> None:
    """Serve the HTTP API, in WORKERS processes."""
    settings = _settings(host)
    try:
        roles.prepare_api(settings)
    except SettingsError as error:
        _fail(str(error))
    roles.serve_api(settings)


@app.command()
def relay() -> None:
    """Publish the events of the outbox to EVENT_BUS. Several may run; one publishes at a time."""
    roles.exit_cleanly_on_sigterm()  # until there is work to finish first
    settings = _settings()
    try:
        roles.run_relay(settings)
    except SettingsError as error:
        _fail(str(error))


@app.command()
def migrate() -> None:
    """Bring the tables of DATABASE_URL up to date."""
    settings = _settings()
    if settings.database_url is None:
        _fail("DATABASE_URL: set it to the database to migrate; `holdfast dev` migrates its own")
    from app.storage.migrations import upgrade

    try:
        upgrade(settings.database_url.get_secret_value())
    except Exception as error:
        _fail(f"the tables could not be brought up to date: {_first_line(error)}")
    typer.echo("the tables are up to date", err=True)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="A CSV file; docs/import.md describes its columns.")],
    as_json: Json = False,
) -> None:
    """Import flights from FILE: all of them, or none, with the reasons.

    They go into DATABASE_URL and REDIS_URL, or into the `holdfast dev` that runs on DATA_DIR.
    """
    settings = _with_running_stores(_settings())
    from app.schedule.errors import ImportRefused

    try:
        added, unchanged = asyncio.run(roles.import_flights(settings, file))
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
        typer.echo(f"{added} flights added, {unchanged} unchanged")


@app.command()
def doctor(
    as_json: Json = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Correct Redis where it differs from PostgreSQL.")
    ] = False,
) -> None:
    """Report what endangers this deployment, why, and how to fix it. Exit code 1 if anything does."""
    settings = _with_running_stores(_settings())
    from app.doctor.model import is_dangerous, verdict

    try:
        findings = asyncio.run(roles.examine(settings, repairs=repair))
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
    """Add missing flights of the sample network, up to sixty days ahead, as `holdfast dev` does."""
    settings = _with_running_stores(_settings())
    if settings.environment is Environment.PRODUCTION:
        _fail("the sample network cannot be loaded if ENVIRONMENT=production")
    from app.dev.errors import CannotStartError
    from app.dev.loading import load_sample

    try:
        added = asyncio.run(load_sample(settings, lambda done, total: None))
    except (SettingsError, CannotStartError) as error:
        _fail(str(error))
    typer.echo(f"sample network: {added} flights added", err=True)


@app.command()
def token(
    client: Annotated[str, typer.Option(help="One of demo, rival, ops, limited.")] = "demo",
    as_json: Json = False,
) -> None:
    """Print a token of the development issuer, for curl."""
    settings = _settings()
    if not settings.serves_dev_identity:
        _fail(
            "DEV_IDENTITY: the development issuer is off; get a token from your identity provider"
        )
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


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _fail(line: str) -> NoReturn:
    typer.echo(f"holdfast: {line}", err=True)
    sys.exit(EXIT_BROKEN)


if __name__ == "__main__":
    main()
