"""`holdfast dev`: all of Holdfast on one machine, with one command.

Starts, in this order, PostgreSQL and Valkey unless the environment names others, the tables, the sample network,
the relay and the API; prints how to use them; restarts them; and stops them in the reverse order at Ctrl-C or
SIGTERM, leaving no process. An error is one line, with exit code 2. All data stays in DATA_DIR, which belongs
to one running Holdfast at a time.
"""

import asyncio
import json
import signal
import socket
from contextlib import suppress

import httpx
from pydantic import SecretStr

from app.dev import running
from app.dev.console import Console
from app.dev.data_dir import kept_secret, locked
from app.dev.errors import CannotStartError
from app.dev.postgres import Postgres, embedded_binaries
from app.dev.restarter import GaveUpError, Restartable, Role, keep_running
from app.dev.valkey import Valkey, embedded_binary
from app.settings import Environment, Settings

_READY_SECONDS = 60.0


async def run_dev(settings: Settings) -> int:
    """Runs until it is stopped; returns the exit code."""
    console = Console()
    stack = _Stack(settings, console)
    work = asyncio.ensure_future(stack.run())
    _on_signals(work, stack, console)
    try:
        await work
    except asyncio.CancelledError:
        console.log("Holdfast has stopped")
        return 0
    except CannotStartError as error:
        console.log(f"holdfast: {error}")
        return 2
    except GaveUpError as error:
        console.log(f"holdfast: {error}")
        return 1
    finally:
        console.flush()
    return 0


def _on_signals(work: "asyncio.Future[None]", stack: "_Stack", console: Console) -> None:
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if stack.stopping:
            console.log("stopping at once")
            stack.force()
        else:
            stack.stopping = True
            console.log("stopping; press Ctrl-C again to stop at once")
            work.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop)


class _Stack:
    """Everything that runs, in the order in which it was started."""

    def __init__(self, settings: Settings, console: Console) -> None:
        self.stopping = False
        self._settings = settings
        self._console = console
        self._data_dir = settings.data_dir.resolve()
        self._started: list[Restartable] = []

    async def run(self) -> None:
        if self._settings.environment is Environment.PRODUCTION:
            raise CannotStartError("`holdfast dev` cannot run if ENVIRONMENT=production")
        with locked(self._data_dir):
            try:
                await self._run()
            finally:
                await self._stop()

    def force(self) -> None:
        for program in self._started:
            if program.child is not None:
                program.child.kill_group()

    async def _run(self) -> None:
        api, relay = (Role(name, self._data_dir, self._console) for name in ("api", "relay"))
        await api.await_predecessor()
        await relay.await_predecessor()
        _refuse_taken_port(self._settings.host, self._settings.port)
        database_url, redis_url = await self._stores()
        await self._migrate(database_url)
        stores = {"database_url": SecretStr(database_url), "redis_url": SecretStr(redis_url)}
        await self._load_sample(self._settings.model_copy(update=stores))
        environment = self._environment(database_url, redis_url)
        running.publish(self._data_dir, database_url, redis_url)
        self._console.log("starting the API and the relay")
        for role in (relay, api):
            role.environment = environment
            await self._start(role)
        await self._watch(api)

    async def _stores(self) -> tuple[str, str]:
        """The addresses of the database and of Redis, embedded unless they are given."""
        settings = self._settings
        if settings.database_url is None:
            embedded_binaries()
        if settings.redis_url is None:
            embedded_binary()
        if settings.database_url is None:
            self._console.log(f"starting PostgreSQL in {settings.data_dir}")
            postgres = Postgres(self._data_dir)
            await self._start(postgres)
            database_url = postgres.url
        else:
            database_url = settings.database_url.get_secret_value()
        if settings.redis_url is None:
            self._console.log(f"starting Valkey in {settings.data_dir}")
            valkey = Valkey(self._data_dir)
            await self._start(valkey)
            redis_url = valkey.url
        else:
            redis_url = settings.redis_url.get_secret_value()
        return database_url, redis_url

    async def _migrate(self, database_url: str) -> None:
        self._console.log("bringing the tables up to date")
        from app.storage.migrations import upgrade  # late: see _load_sample

        try:
            await asyncio.to_thread(upgrade, database_url)
        except Exception as error:
            raise CannotStartError(
                f"the tables could not be created: {_first_line(error)}"
            ) from error

    async def _load_sample(self, settings: Settings) -> None:
        # Late, because the import takes seconds and the terminal should show progress before.
        from app.dev.loading import load_sample

        with self._console.progress("loading the sample network") as progress:
            added = await load_sample(settings, progress)
        self._console.log(f"sample network: {added} flights added")

    async def _start(self, program: Restartable) -> None:
        self._started.append(program)
        await program.start()

    async def _stop(self) -> None:
        """The API first, the database last: each stops before what it needs."""
        running.withdraw(self._data_dir)
        for program in reversed(self._started):
            with suppress(Exception):  # the others must be stopped too
                await program.stop()

    async def _watch(self, api: Role) -> None:
        """Keeps everything running, and prints how to use it once the API is ready."""
        restarters = [
            asyncio.create_task(keep_running(program, self._console)) for program in self._started
        ]
        ready = asyncio.create_task(self._announce(api))
        try:
            await asyncio.wait({ready, *restarters}, return_when=asyncio.FIRST_COMPLETED)
            if ready.done():
                ready.result()
                await asyncio.wait(restarters, return_when=asyncio.FIRST_COMPLETED)
            for restarter in restarters:
                if restarter.done():
                    restarter.result()
        finally:
            for task in (ready, *restarters):
                task.cancel()
            await asyncio.gather(ready, *restarters, return_exceptions=True)

    async def _announce(self, api: Role) -> None:
        base_url = _base_url(self._settings)
        await _until_ready(f"{base_url}/readyz", api)
        lines = ["", f"Holdfast is ready.  API docs: {base_url}/docs", ""]
        if self._settings.serves_dev_identity:
            lines += [
                f"TOKEN={await _demo_token(base_url)}",
                f'curl -H "Authorization: Bearer $TOKEN" "{base_url}/v1/routes?limit=5"',
                "",
            ]
        self._console.print("\n".join(lines))

    def _environment(self, database_url: str, redis_url: str) -> dict[str, str]:
        settings = self._settings
        keys = (
            [key.get_secret_value() for key in settings.signing_keys]
            if settings.signing_keys
            else [kept_secret(self._data_dir / "signing.key")]
        )
        return {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "DATA_DIR": str(self._data_dir),
            "HOST": settings.host,
            "PORT": str(settings.port),
            "WORKERS": str(settings.workers),
            "ENVIRONMENT": settings.environment.value,
            "SIGNING_KEYS": json.dumps(keys),
            "DEV_IDENTITY": "1" if settings.serves_dev_identity else "0",
        }


def _refuse_taken_port(host: str, port: int) -> None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise CannotStartError(
            f"port {port} of {host} cannot be used ({error.strerror}); set another PORT or HOST"
        ) from error


def _base_url(settings: Settings) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


async def _until_ready(url: str, api: Role) -> None:
    reason = "no answer"
    with suppress(TimeoutError):
        async with asyncio.timeout(_READY_SECONDS), httpx.AsyncClient(trust_env=False) as client:
            while True:
                with suppress(httpx.HTTPError):
                    answer = await client.get(url, timeout=5)
                    if answer.status_code == httpx.codes.OK:
                        return
                    reason = answer.text
                await asyncio.sleep(0.25)
    raise GaveUpError(f"the API is not ready after {_READY_SECONDS:.0f} s: {reason}\n{api.tail()}")


async def _demo_token(base_url: str) -> str:
    async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
        answer = await client.post(
            f"{base_url}/dev/oidc/token",
            data={"grant_type": "client_credentials"},
            auth=("demo", "demo"),
        )
    return str(answer.raise_for_status().json()["access_token"])


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
