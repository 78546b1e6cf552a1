"""The system under test: durable PostgreSQL, Valkey, two API processes and two relays.

Each API process reaches each store through a link of its own, so that one of them can be cut off or redirected
while the other continues. Dumps and faults do not use the links. `redis` is the server that clients should
reach; a fault may replace it.
"""

import asyncio
import itertools
import json
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from redis.asyncio import Redis

from app.dev.data_dir import free_port
from app.dev.errors import CannotStartError
from app.dev.postgres import Postgres
from app.storage.migrations import upgrade
from tests.faults.processes import ApiProcess, RelayProcess, kill_with_descendants
from tests.faults.proxy import Address, Mode, Proxy
from tests.faults.stores import Persistence, Store
from tests.fixtures.api import environment

API_PROCESSES = 2
RELAYS = 2
TTL_SECONDS = 3
TOKENS_AFTER_SECONDS = 900.0


class Stack:
    """Made by `running`."""

    def __init__(self, folder: Path, ttl_seconds: int, persistence: Persistence) -> None:
        self.folder = folder
        self.postgres = Postgres(folder / "postgres", durable=True)
        self.redis = Store(folder / "redis-0", persistence)
        self.apis: list[ApiProcess] = []
        self.relays: list[RelayProcess] = []
        self.bus = folder / "bus.log"
        self.ttl_seconds = ttl_seconds
        self._folders = itertools.count(1)
        self._minted_at = 0.0

    @property
    def database_url(self) -> str:
        return self.postgres.url

    @property
    def redis_url(self) -> str:
        return self.redis.url

    def proxies(self) -> list[Proxy]:
        return [link for api in self.apis for link in (api.redis_link, api.postgres_link)]

    def new_store(self, persistence: Persistence) -> Store:
        """Another server, not started; it takes the same password, so that links can lead to it."""
        return self.redis.sibling(self.folder / f"redis-{next(self._folders)}", persistence)

    def lead_to(self, store: Store, apis: list[ApiProcess]) -> None:
        """Redirect those processes to that server; their open connections are reset."""
        for api in apis:
            api.redis_link.redirect(Address("127.0.0.1", store.port))
            api.redis_link.cut()

    async def kill_postgres(self) -> None:
        """Kill all its processes at once, like a power failure."""
        assert self.postgres.child is not None, "it was started"
        await asyncio.to_thread(kill_with_descendants, self.postgres.child.process.pid)
        await self.postgres.child.kill()

    async def start_postgres(self) -> None:
        """Start it unless it runs; returns when it has recovered."""
        for attempt in itertools.count(1):
            if self.postgres.child is not None and self.postgres.child.running:
                return
            try:
                await self.postgres.start()
            except CannotStartError:  # a part of the killed server has not ended yet
                if attempt == 5:
                    raise
                await asyncio.sleep(0.5)

    @asynccontextmanager
    async def watcher(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection without a link, for dumps and faults."""
        connection = await asyncpg.connect(self.database_url.replace("+asyncpg", ""), timeout=10)
        try:
            yield connection
        finally:
            await connection.close(timeout=5)

    @asynccontextmanager
    async def redis_watcher(self) -> AsyncIterator[Redis]:
        async with self.redis.client() as client:
            yield client

    async def until_ready(self, seconds: float) -> list[str]:
        """Wait; returns the processes that are not ready at the time limit, normally none."""
        deadline = time.monotonic() + seconds
        while True:
            ready = await asyncio.gather(*(api.is_ready() for api in self.apis))
            unready = [
                a.called for a, is_ready in zip(self.apis, ready, strict=True) if not is_ready
            ]
            if not unready or time.monotonic() > deadline:
                return unready
            await asyncio.sleep(0.1)

    def keep_tokens_good(self) -> None:
        if time.monotonic() - self._minted_at > TOKENS_AFTER_SECONDS:
            for api in self.apis:
                api.mint_tokens()
            self._minted_at = time.monotonic()

    def errors_logged(self) -> list[str]:
        """What the processes have logged as errors since this was last asked."""
        return [line for one in (*self.apis, *self.relays) for line in one.errors_logged()]

    def undo_links(self) -> None:
        for proxy in self.proxies():
            proxy.delay_seconds = 0.0
            proxy.set_mode(Mode.PASS)


@asynccontextmanager
async def running(
    folder: Path,
    *,
    ttl_seconds: int = TTL_SECONDS,
    persistence: Persistence = Persistence.APPENDED,
) -> AsyncIterator[Stack]:
    """A stack that is ready, until the end of the block."""
    stack = Stack(folder, ttl_seconds, persistence)
    async with AsyncExitStack() as up:
        await stack.postgres.start()
        up.push_async_callback(stack.postgres.stop)
        await stack.redis.start()
        up.push_async_callback(lambda: stack.redis.stop())
        await asyncio.to_thread(upgrade, stack.database_url)
        keys = json.dumps([secrets.token_urlsafe(32)])
        for number in range(API_PROCESSES):
            stack.apis.append(await _api(stack, up, f"api-{number}", keys))
        for number in range(RELAYS):
            stack.relays.append(_relay(stack, f"relay-{number}", keys))
        for process in (*stack.apis, *stack.relays):
            up.push_async_callback(process.kill)
        await asyncio.gather(*(process.start() for process in (*stack.apis, *stack.relays)))
        unready = await stack.until_ready(30.0)
        if unready:
            raise RuntimeError(f"not ready: {unready}")
        stack.keep_tokens_good()
        yield stack


async def _api(stack: Stack, up: AsyncExitStack, name: str, keys: str) -> ApiProcess:
    postgres_link = Proxy(Address("127.0.0.1", stack.postgres.port))
    redis_link = Proxy(Address("127.0.0.1", stack.redis.port))
    for link in (postgres_link, redis_link):
        await link.start()
        up.push_async_callback(link.close)
    return ApiProcess(
        name,
        environment(
            stack.folder / name,
            _at(stack.database_url, postgres_link.port),
            _at(stack.redis_url, redis_link.port),
            HOLD_TTL_SECONDS=str(stack.ttl_seconds),
            SIGNING_KEYS=keys,
            LOG_LEVEL="WARNING",
        ),
        redis_link,
        postgres_link,
    )


def _relay(stack: Stack, name: str, keys: str) -> RelayProcess:
    settings = environment(
        stack.folder / name,
        stack.database_url,
        stack.redis_url,
        EVENT_BUS="log",
        METRICS_PORT=str(free_port()),
        SIGNING_KEYS=keys,
        LOG_LEVEL="WARNING",
    )
    return RelayProcess(name, settings, stack.bus)


def _at(url: str, port: int) -> str:
    """The same address, by way of a link."""
    parts = urlsplit(url)
    before, _, _ = parts.netloc.rpartition(":")
    return urlunsplit(parts._replace(netloc=f"{before}:{port}"))
