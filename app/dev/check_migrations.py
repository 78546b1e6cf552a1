"""Checks that the migrations create the tables that the code declares.

Run as `python -m app.dev.check_migrations`: it migrates a temporary PostgreSQL and compares. The exit code is 1
if a migration is missing, and the output says what it would have to do.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

from alembic import command
from alembic.util import CommandError

from app.dev.errors import CannotStartError
from app.dev.postgres import Postgres
from app.storage.migrations import configuration, upgrade


async def differences() -> str | None:
    """What Alembic would put into a new migration; None if nothing is missing."""
    with tempfile.TemporaryDirectory(prefix="hf-", ignore_cleanup_errors=True) as folder:
        postgres = Postgres(Path(folder), durable=False)
        await postgres.start()
        try:
            await asyncio.to_thread(upgrade, postgres.url)
            await asyncio.to_thread(command.check, configuration(postgres.url))
        except CommandError as error:
            return str(error)
        finally:
            await postgres.stop()
    return None


def main() -> int:
    try:
        found = asyncio.run(differences())
    except CannotStartError as error:
        found = str(error)
    if found is not None:
        sys.stderr.write(f"{found}\n")
    return 1 if found is not None else 0


if __name__ == "__main__":
    sys.exit(main())
