"""The client of the simulated Redis: its connections remember their server, and check its incarnation
when they are made, as those of app/storage/redis.py do.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from app.storage.redis import CHECKED_FOR_SECONDS, ExpectedIncarnation, HoldServer, WrongIncarnation
from tests.simulation.effects import Effects
from tests.simulation.loop import Process
from tests.simulation.redis_server import Server

Route = Callable[[Process], Server]
Ran = Callable[[Server, str, tuple[Any, ...], Any], None]
"""Called for every script that ran: server, digest, arguments, reply."""


class SimulatedHoldServer(HoldServer):
    def __init__(self, effects: Effects, process: Process, route: Route, ran: Ran) -> None:
        self._effects, self._process, self._route, self._ran = effects, process, route, ran

    def connect(self, expected: ExpectedIncarnation = lambda: None) -> Redis:
        return cast("Redis", Client(self._effects, self._process, self._route, self._ran, expected))

    async def reconnect(self, client: Redis) -> None:
        cast("Client", client).release()


class Client:
    def __init__(
        self,
        effects: Effects,
        process: Process,
        route: Route,
        ran: Ran,
        expected: ExpectedIncarnation,
    ) -> None:
        self._effects = effects
        self._process = process
        self._route = route
        self._ran = ran
        self._expected = expected
        self._idle: list[tuple[Server, float]] = []  # and when its incarnation was checked
        self._generation = 0

    def release(self) -> None:
        """Close idle connections now, and those in use when they are returned."""
        self._idle.clear()
        self._generation += 1

    async def aclose(self) -> None:
        self._idle.clear()

    async def evalsha(self, digest: str, key_count: int, *arguments: Any) -> Any:
        def run(server: Server) -> Any:
            reply = server.run_script(digest, key_count, arguments)
            self._ran(server, digest, (key_count, *arguments), reply)
            return reply

        return await self._call(f"script {digest[:6]}", run)

    async def script_load(self, source: str) -> str:
        return cast("str", await self._call("script load", lambda s: s.load_script(source)))

    async def get(self, key: str) -> bytes | None:
        return cast("bytes | None", await self._call("get", lambda s: _bulk(s.command("GET", key))))

    async def set(self, key: str, value: int, *, nx: bool, px: int) -> bool | None:
        def do(server: Server) -> bool | None:
            assert nx, "only SET with NX is simulated"
            if server.command("SET", key, value, "NX") is False:
                return None
            server.command("PEXPIRE", key, px)
            return True

        return cast("bool | None", await self._call("set", do))

    async def time(self) -> tuple[int, int]:
        seconds, rest = await self._call("time", lambda s: s.command("TIME"))
        return int(seconds), int(rest)

    async def srandmember(self, key: str, count: int) -> list[bytes]:
        return cast("list[bytes]", await self._plain("SRANDMEMBER", key, count))

    async def zrangebyscore(
        self, key: str, least: float | str, most: float | str, start: int, num: int
    ) -> list[bytes]:
        return cast(
            "list[bytes]",
            await self._plain("ZRANGEBYSCORE", key, least, most, "LIMIT", start, num),
        )

    async def zrem(self, key: str, *members: str) -> int:
        return cast("int", await self._plain("ZREM", key, *members))

    async def srem(self, key: str, *members: str) -> int:
        return cast("int", await self._plain("SREM", key, *members))

    async def unlink(self, *keys: bytes) -> int:
        return cast("int", await self._plain("DEL", *keys))

    async def ping(self) -> bool:
        return bool(await self._call("ping", lambda _: True))

    async def info(self, section: str) -> dict[str, Any]:
        def say(server: Server) -> dict[str, Any]:
            return {
                "run_id": server.run_id,
                "master_replid": server.replication_id,
                "role": "master",
                "maxmemory_policy": "noeviction",
                "aof_enabled": 1,
            }

        return cast("dict[str, Any]", await self._call(f"info {section}", say))

    async def scan_iter(self, match: str = "*", count: int = 10) -> AsyncIterator[bytes]:
        assert match.endswith("*"), "only a prefix match is simulated"
        prefix = match[:-1]

        def scan(server: Server) -> list[bytes]:
            return [key.encode() for key in sorted(server.data) if key.startswith(prefix)]

        for key in await self._call("scan", scan):
            yield key

    async def _plain(self, command: str, *arguments: Any) -> Any:
        return await self._call(
            command.lower(), lambda server: _bulk(server.command(command, *arguments))
        )

    async def _call(self, label: str, do: Callable[[Server], Any]) -> Any:
        generation = self._generation
        server, checked_at = await self._connection()

        def perform() -> Any:
            if not server.is_alive:
                raise RedisConnectionError("Connection closed by server.")
            return do(server)

        answer = await self._effects.do(
            f"{self._process.name} {label} @{server.name}", perform, _no_answer
        )
        if generation == self._generation:
            self._idle.append((server, checked_at))
        return answer

    async def _connection(self) -> tuple[Server, float]:
        now = asyncio.get_running_loop().time()
        while self._idle:
            server, checked_at = self._idle.pop()
            if server is self._process.is_cut_off_from:
                continue
            if server.is_alive and now - checked_at < CHECKED_FOR_SECONDS:
                return server, checked_at
            if server.is_alive:
                self._check_incarnation(server)
                return server, now

        def connect() -> Server:
            server = self._route(self._process)
            if not server.is_alive:
                raise RedisConnectionError("Connection refused.")
            self._check_incarnation(server)
            return server

        label = f"{self._process.name} connect"
        return cast("Server", await self._effects.do(label, connect, _no_connection)), now

    def _check_incarnation(self, server: Server) -> None:
        wanted = self._expected()
        if wanted is not None and server.incarnation != wanted:
            raise WrongIncarnation("Redis was restarted or replaced")


def _bulk(value: Any) -> Any:
    if value is False:
        return None
    if isinstance(value, list):
        return [_bulk(part) for part in value]
    return value.encode() if isinstance(value, str) else value


def _no_answer() -> Exception:
    return RedisTimeoutError("Timeout reading from the server.")


def _no_connection() -> Exception:
    return RedisConnectionError("Timeout connecting to the server.")
