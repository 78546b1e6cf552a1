"""The real servers of a run, and on them one stage a row: a database, a Valkey and processes of its own.

PostgreSQL is one for the whole run, durable as shipped; each row gets a database copied from a migrated
template, so that no row finds what another left. Every child dies with its parent and is stopped at the
end of its block, whatever happens.
"""

import asyncio
import itertools
import json
import os
import secrets
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import asyncpg
import httpx
import psutil
from redis.asyncio import Redis

from app.clock import utc_now
from app.dev.child import Child, Program, tail
from app.dev.data_dir import free_port
from app.dev.issuer import mint_token
from app.dev.postgres import Postgres
from app.dev.valkey import Valkey
from app.main import DEV_ISSUER_PATH
from app.storage.migrations import upgrade

READY_SECONDS = 600.0  # a rebuild of a million flights and holds is part of it
STOP_SECONDS = 20.0
TEMPLATE = "benchmark_template"


class Running:
    """One program that listens on a port."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.name = name
        self.command = command
        self.environment = environment
        self.folder = Path(environment["DATA_DIR"])
        self.port = int(environment["PORT"])
        self.log = self.folder / f"{name}.log"
        self.child: Child | None = None

    async def start(self, *, ready: str | None = "/readyz") -> None:
        """Returns when that path answers 200, or anything where there is no such path."""
        self.child = await Child.start(
            Program(
                name=self.name,
                command=self.command,
                pid_file=self.folder / f"{self.name}.pid",
                log=self.log,
                stop_signals=((signal.SIGTERM, STOP_SECONDS),),
                environment=self.environment,
            )
        )
        if ready is not None:
            await self._until(ready)

    async def stop(self) -> None:
        if self.child is not None:
            await self.child.stop()

    @property
    def pid(self) -> int:
        assert self.child is not None, "it was started"
        return self.child.process.pid

    def token(self, client: str = "demo") -> str:
        issuer = f"http://localhost:{self.port}{DEV_ISSUER_PATH}"
        return mint_token(self.folder, issuer, client, utc_now)

    def resident_bytes(self) -> int:
        return sum(one.memory_info().rss for one in family(self.pid))

    async def _until(self, path: str) -> None:
        url = f"http://127.0.0.1:{self.port}{path}"
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
            with suppress(TimeoutError):
                async with asyncio.timeout(READY_SECONDS):
                    while self.child is not None and self.child.running:
                        with suppress(httpx.TransportError):
                            status = (await client.get(url)).status_code
                            if status == 200 or path == "/":
                                return
                        await asyncio.sleep(0.05)
        words = tail(self.log, 20)
        await self.stop()
        raise RuntimeError(f"{self.name} did not become ready:\n{words}")


class Stage:
    """Made by `Servers.stage`."""

    def __init__(self, servers: "Servers", name: str, up: AsyncExitStack) -> None:
        self.folder = servers.folder / name
        self.folder.mkdir(parents=True)
        self.name = name
        self.servers_folder = servers.folder
        self.postgres = servers.postgres
        self.valkey = Valkey(self.folder)
        self._up = up
        self._numbers = itertools.count(1)
        self._keys = json.dumps([secrets.token_urlsafe(32)])

    @property
    def database_url(self) -> str:
        return self.postgres.url_of(self.name)

    @asynccontextmanager
    async def sql(self) -> AsyncIterator[asyncpg.Connection]:
        connection = await self.postgres.connect(self.name)
        try:
            yield connection
        finally:
            await connection.close(timeout=10)

    @asynccontextmanager
    async def redis(self) -> AsyncIterator[Redis]:
        async with Redis.from_url(self.valkey.url, socket_timeout=120) as client:
            yield client

    async def api(self, *, workers: int = 1) -> Running:
        """As shipped."""
        command = [sys.executable, "-m", "app.cli", "api"]
        return await self._run("api", command, WORKERS=str(workers))

    async def relay(self) -> Running:
        """As shipped, to a bus that accepts everything."""
        command = [sys.executable, "-m", "app.cli", "relay"]
        return await self._run("relay", command, ready=None, EVENT_BUS="null")

    async def serve(
        self, name: str, *options: str, ready: str | None = "/", **settings: str
    ) -> Running:
        """One of benchmarks.serve."""
        command = [sys.executable, "-m", "benchmarks.serve", name, *options]
        return await self._run(name, command, ready=ready, **settings)

    def cpu(self, *ours: Running) -> Callable[[], Mapping[str, float]]:
        """Reads the seconds that each part of the process tree has computed for."""
        assert self.postgres.child is not None
        assert self.valkey.child is not None
        roots = {
            "app": [one.pid for one in ours],
            "postgres": [self.postgres.child.process.pid],
            "redis": [self.valkey.child.process.pid],
        }

        def read() -> Mapping[str, float]:
            return {name: sum(map(computed_seconds, pids)) for name, pids in roots.items()}

        return read

    async def _run(
        self, name: str, command: list[str], *, ready: str | None = "/readyz", **settings: str
    ) -> Running:
        folder = self.folder / f"{name}-{next(self._numbers)}"
        metrics = folder / "metrics"
        metrics.mkdir(parents=True)
        kept = {one: os.environ[one] for one in ("PATH", "HOME", "LANG") if one in os.environ}
        running = Running(
            name,
            command,
            {
                **kept,
                "PYTHONPATH": str(Path(__file__).parents[1]),
                "PORT": str(free_port()),
                "DATA_DIR": str(folder),
                "DATABASE_URL": self.database_url,
                "REDIS_URL": self.valkey.url,
                "DEV_IDENTITY": "1",
                "SIGNING_KEYS": self._keys,
                "PROMETHEUS_MULTIPROC_DIR": str(metrics),
                **settings,
            },
        )
        self._up.push_async_callback(running.stop)
        await running.start(ready=ready)
        return running


class Servers:
    """On a PostgreSQL that runs; `serving` brings one. The template has to be prepared first."""

    def __init__(self, folder: Path, postgres: Postgres) -> None:
        self.folder = folder
        self.postgres = postgres
        self._numbers = itertools.count(1)

    @asynccontextmanager
    async def stage(
        self, prepare: Callable[[asyncpg.Connection], Awaitable[None]] | None = None
    ) -> AsyncIterator[Stage]:
        """`prepare` fills the database before anything looks at it."""
        name = f"stage_{next(self._numbers)}"
        await self._sql(f'CREATE DATABASE "{name}" TEMPLATE "{TEMPLATE}"')
        async with AsyncExitStack() as up:
            up.push_async_callback(self._sql, f'DROP DATABASE "{name}" WITH (FORCE)')
            stage = Stage(self, name, up)
            up.callback(shutil.rmtree, stage.folder, ignore_errors=True)
            if prepare is not None:
                async with stage.sql() as connection:
                    await prepare(connection)
            await stage.valkey.start()
            up.push_async_callback(stage.valkey.stop)
            yield stage

    async def prepare_template(self) -> None:
        await self._sql(f'CREATE DATABASE "{TEMPLATE}"')
        await asyncio.to_thread(upgrade, self.postgres.url_of(TEMPLATE))

    async def _sql(self, statement: str) -> None:
        connection = await self.postgres.connect()
        try:
            await connection.execute(statement, timeout=120)
        finally:
            await connection.close(timeout=10)


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Servers]:
    postgres = Postgres(folder / "postgres")
    await postgres.start()
    try:
        servers = Servers(folder, postgres)
        await servers.prepare_template()
        yield servers
    finally:
        await postgres.stop()


def computed_seconds(pid: int) -> float:
    """Of a process and all that it started, those that have ended included."""
    total = 0.0
    for process in family(pid):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def family(pid: int) -> list[psutil.Process]:
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
