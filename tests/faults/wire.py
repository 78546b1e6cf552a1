"""A cheap HTTP/1.1 client for fault runs, with a deadline for each call.

A call has a complete answer or is `Lost`: the server may have executed it, or may still do so. A call that is
given up resets its connection, as a client that disconnects does.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CONNECT_SECONDS = 2.0
_HEAD_MAX = 64 * 1024


class Lost(Exception):
    """No complete answer came."""


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: dict[str, str]  # names in small letters
    body: bytes

    def json(self) -> dict[str, Any] | None:
        if "json" not in self.headers.get("content-type", ""):
            return None
        parsed = json.loads(self.body)
        return parsed if isinstance(parsed, dict) else None


class Wire:
    """Connections to one server, kept open between calls."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[_Connection] = []

    async def call(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: Mapping[str, Any] | None = None,
        *,
        timeout: float,
    ) -> Reply:
        """Raises Lost."""
        connection: _Connection | None = None
        try:
            async with asyncio.timeout(timeout):
                connection = self._take() or await self._open()
                reply = await connection.call(method, path, headers, body)
        except (OSError, EOFError, TimeoutError, ValueError, RuntimeError) as error:
            if connection is not None:
                connection.reset()
            raise Lost(type(error).__name__) from error
        except BaseException:
            if connection is not None:
                connection.reset()
            raise
        if reply.headers.get("connection") == "close":
            connection.reset()
        else:
            self._idle.append(connection)
        return reply

    def close(self) -> None:
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.reset()

    def _take(self) -> "_Connection | None":
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
            connection.reset()
        return None

    async def _open(self) -> "_Connection":
        async with asyncio.timeout(CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=_HEAD_MAX)
        return _Connection(reader, writer)


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @property
    def is_open(self) -> bool:
        return not (self._reader.at_eof() or self._writer.transport.is_closing())

    def reset(self) -> None:
        self._writer.transport.abort()

    async def call(
        self, method: str, path: str, headers: Mapping[str, str], body: Mapping[str, Any] | None
    ) -> Reply:
        content = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", "Host: holdfast", f"Content-Length: {len(content)}"]
        if body is not None:
            lines.append("Content-Type: application/json")
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._writer.write("\r\n".join([*lines, "", ""]).encode() + content)
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *rest = head.rstrip("\r\n").split("\r\n")
        received = {
            name.lower(): value.strip() for name, _, value in (one.partition(":") for one in rest)
        }
        length = int(received.get("content-length", "0"))
        answer = await self._reader.readexactly(length) if length else b""
        return Reply(int(first.split(" ", 2)[1]), received, answer)
