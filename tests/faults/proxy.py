"""A TCP link that can be made to fail: one listener, any upstream, and a mode that can change at any time.

TCP never loses bytes in the middle of a connection. So a connection that lost data in DROP_REPLIES or
BLACK_HOLE stays silent from then on and is reset when the link heals, as in a real network; in STALL nothing is
lost, everything arrives late.
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import cast

_UNSENT_MAX = 1 << 20  # bytes kept for a side that does not read


class Mode(Enum):
    PASS = "pass"
    DROP_REPLIES = "drop replies"  # requests arrive and are executed; replies are lost
    BLACK_HOLE = "black hole"  # half-open: nothing arrives on either side, and nothing is closed
    STALL = "stall"  # nothing arrives now, everything later


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int


class Proxy:
    """Listens on a free port of the loopback address from `start` to `close`."""

    def __init__(self, upstream: Address) -> None:
        self.upstream = upstream
        self.mode = Mode.PASS
        self.delay_seconds = 0.0  # for each piece, in both directions
        self.port = 0
        self._server: asyncio.Server | None = None
        self._links: set[_Link] = set()

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Link(self).client, "127.0.0.1", 0, backlog=512
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()
        await asyncio.sleep(0)

    @property
    def connections(self) -> int:
        return len(self._links)

    def set_mode(self, mode: Mode) -> None:
        self.mode = mode
        for link in tuple(self._links):
            link.mode_changed()

    def cut(self) -> int:
        """Reset every connection; returns their number."""
        links = tuple(self._links)
        for link in links:
            link.reset()
        return len(links)

    def redirect(self, upstream: Address) -> None:
        """Send new connections to another upstream; open ones stay until `cut`."""
        self.upstream = upstream

    def _opened(self, link: "_Link") -> None:
        self._links.add(link)

    def _closed(self, link: "_Link") -> None:
        self._links.discard(link)


class _Link:
    """One connection from a client, and the one it leads to."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.client = _End(self, is_client=True)
        self.server = _End(self, is_client=False)
        self._muted = False  # data was lost: from now on nothing is delivered
        self._connecting: asyncio.Task[None] | None = None

    def opened(self) -> None:
        self.proxy._opened(self)
        self._connecting = asyncio.create_task(self._connect())

    async def _connect(self) -> None:
        upstream = self.proxy.upstream
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: self.server, upstream.host, upstream.port
            )
        except OSError:
            self.reset()

    def received(self, data: bytes, source: "_End") -> None:
        target = self.server if source.is_client else self.client
        mode = self.proxy.mode
        if mode is Mode.BLACK_HOLE or (mode is Mode.DROP_REPLIES and not source.is_client):
            self._muted = True
        if self._muted and not (mode is Mode.DROP_REPLIES and source.is_client):
            return
        if self.proxy.delay_seconds and mode is Mode.PASS:
            loop = asyncio.get_running_loop()
            loop.call_later(self.proxy.delay_seconds, target.send, data)
        else:
            target.send(data)

    def mode_changed(self) -> None:
        if self._muted and self.proxy.mode is Mode.PASS:
            self.reset()
            return
        self.client.flush()
        self.server.flush()

    def ended(self, source: "_End") -> None:
        """One side has closed: so does the other, unless nothing gets through."""
        if self.proxy.mode is Mode.BLACK_HOLE or self._muted:
            self._muted = True
            if self.client.is_gone and self.server.is_gone:
                self.proxy._closed(self)
            elif source.is_client:  # the client has given up: close the other side too
                self.reset()
            return
        (self.server if source.is_client else self.client).finish()
        if self.client.is_gone and self.server.is_gone:
            self.proxy._closed(self)

    def reset(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
        self.client.abort()
        self.server.abort()
        self.proxy._closed(self)


class _End(asyncio.Protocol):
    def __init__(self, link: _Link, *, is_client: bool) -> None:
        self.is_client = is_client
        self.is_gone = False
        self._link = link
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[bytes] = deque()
        self._finishing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        if self.is_gone:  # reset while it was being made
            self._transport.abort()
        elif self.is_client:
            self._link.opened()
        else:
            self.flush()

    def data_received(self, data: bytes) -> None:
        self._link.received(data, self)

    def connection_lost(self, _: Exception | None) -> None:
        self.is_gone = True
        self._link.ended(self)

    def send(self, data: bytes) -> None:
        self._waiting.append(data)
        self.flush()

    def flush(self) -> None:
        if self._transport is None or self._link.proxy.mode is Mode.STALL:
            return
        while self._waiting and not self._transport.is_closing():
            self._transport.write(self._waiting.popleft())
        if self._transport.get_write_buffer_size() > _UNSENT_MAX:
            self._link.reset()
        elif self._finishing:
            self._transport.close()

    def finish(self) -> None:
        """Closes after what was received has been passed on."""
        self._finishing = True
        self.flush()

    def abort(self) -> None:
        self.is_gone = True
        self._waiting.clear()
        if self._transport is not None:
            self._transport.abort()
