"""PostgreSQL is killed and recovers, or some of its connections end or freeze."""

import os
import signal
from contextlib import suppress

from tests.faults.faults.base import Fault

_BACKENDS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'holdfast'"


class PostgresKilled(Fault):
    name = "postgres-kill"
    summary = "all of PostgreSQL is killed (-9) and recovers from its log"

    async def begin(self) -> None:
        await self.stack.kill_postgres()

    async def heal(self) -> None:
        await self.stack.start_postgres()

    def lasts_seconds(self) -> float:
        return min(self.longest_seconds, self.chance.choice((0.0, 0.5, 2.0)))


class _BackendFault(Fault):
    async def backends(self, count: int) -> list[int]:
        async with self.stack.watcher() as connection:
            found = [row["pid"] for row in await connection.fetch(_BACKENDS)]
        return self.chance.sample(found, min(count, len(found)))


class BackendsTerminated(_BackendFault):
    name = "postgres-terminate"
    summary = "pg_terminate_backend ends some connections, several times"

    async def begin(self) -> None:
        for _ in range(5):
            async with self.stack.watcher() as connection:
                for pid in await self.backends(4):
                    await connection.execute("SELECT pg_terminate_backend($1)", pid)
            await self.pause(0.1)

    async def heal(self) -> None:
        """Nothing to heal: the server accepts new connections throughout."""

    def lasts_seconds(self) -> float:
        return 0.0


class BackendFrozen(_BackendFault):
    name = "postgres-backend-freeze"
    summary = (
        "the PostgreSQL process of one connection is stopped (SIGSTOP) with the locks it holds"
    )

    _frozen = 0

    async def begin(self) -> None:
        for pid in await self.backends(1):
            self._frozen = pid
            os.kill(pid, signal.SIGSTOP)

    async def heal(self) -> None:
        if self._frozen:
            with suppress(ProcessLookupError):
                os.kill(self._frozen, signal.SIGCONT)

    def lasts_seconds(self) -> float:
        return min(self.longest_seconds, self.chance.choice((0.5, 2.0, 4.0, 8.0)))
