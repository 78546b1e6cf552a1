"""The Redis-compatible server of a fault run: it can be killed, restart older or empty, and be copied.

What a crash loses is decided here: a killed process loses nothing that it wrote, so older data replaces newer
explicitly.
"""

import os
import shutil
import signal
from enum import Enum
from pathlib import Path

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from app.dev.data_dir import write_private
from app.dev.valkey import Valkey


class Persistence(Enum):
    APPENDED = "every write appended to a log"
    SNAPSHOTS = "snapshots now and then"
    NONE = "nothing is kept"


class Store(Valkey):
    def __init__(self, data_dir: Path, persistence: Persistence) -> None:
        super().__init__(data_dir)
        self.persistence = persistence
        self.files = self._folder

    def sibling(self, data_dir: Path, persistence: Persistence) -> "Store":
        """Another server with the same password, not started."""
        other = Store(data_dir, persistence)
        write_private(other._home / "valkey.password", self._password)
        return other

    @property
    def is_running(self) -> bool:
        return self.child is not None and self.child.running

    @property
    def password(self) -> str:
        return self._password

    def client(self) -> Redis:
        """Around every link; the caller closes it."""
        return Redis.from_url(
            self.url, socket_timeout=30, socket_connect_timeout=5, retry=Retry(NoBackoff(), 0)
        )

    async def kill(self) -> None:
        assert self.child is not None, "it was started"
        await self.child.kill()

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def forget(self) -> None:
        """Empties the folder of a server that is not running."""
        shutil.rmtree(self.files, ignore_errors=True)

    def put_back(self, saved: Path) -> None:
        """Replace the folder of a stopped server by an earlier copy."""
        self.forget()
        shutil.copytree(saved, self.files)

    def save_copy(self, saved: Path) -> None:
        """Copy the data that a crash now might leave; a log that is being written may end anywhere."""
        shutil.rmtree(saved, ignore_errors=True)
        shutil.copytree(self.files, saved, ignore=shutil.ignore_patterns("temp-*"))

    def _configuration(self) -> str:
        text = super()._configuration() + "repl-diskless-sync-delay 0\n"
        if self.persistence is Persistence.APPENDED:
            return text
        text = text.replace("appendonly yes", "appendonly no")
        if self.persistence is Persistence.SNAPSHOTS:
            text = text.replace('save ""', "save 1 1")
        return text

    def _signal(self, number: signal.Signals) -> None:
        if self.child is not None and self.is_running:
            os.kill(self.child.process.pid, number)
