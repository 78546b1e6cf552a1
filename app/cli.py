"""`holdfast ROLE`: one program, one role a process. What is wrong is said in one line.

Commands, their arguments and what they print; what the long ones run stands in `roles`. A command imports
what it needs when it runs, so that `--help` answers at once.
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
    try:
        roles.prepare_api(settings)
    except SettingsError as error:
        _fail(str(error))
    roles.serve_api(settings)


@app.command()
def relay() -> None:
    """Publishes what the outbox holds to EVENT_BUS; any number may run, one of them works."""
    roles.end_well_when_told()  # until there is work to finish first
    settings = _settings()
    try:
        roles.run_relay(settings)
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
