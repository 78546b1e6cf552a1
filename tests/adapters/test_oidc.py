"""Taking keys over real HTTP from issuers good, slow and hostile."""

import asyncio
import json
import zlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse

from app.adapters.oidc import MAX_ANSWER_BYTES, OidcAnswerRefused, OidcKeys
from app.identity.keys import CachedKeys
from app.identity.profile import IssuerProfile
from tests.builders.tokens import rsa_jwk, rsa_key

JWKS = {"keys": [rsa_jwk(rsa_key("ours"), "k1")]}
DISCOVERY = "/.well-known/openid-configuration"


class Server:
    """Answers each path with the very bytes it is given; keeps the requests' first lines."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.url = ""

    def answer(self, path: str, body: bytes | Any, status: str = "200 OK", *more: str) -> None:
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *more]
        self.answers[path] = "\r\n".join([*head, "", ""]).encode() + body

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
        self.asked.append(path)
        writer.write(self.answers.get(path, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"))
        try:
            await writer.drain()
        except ConnectionError:
            return
        finally:
            writer.close()

    def keys(self, http: httpx.AsyncClient, *, jwks_uri: str | None = "/jwks") -> OidcKeys:
        uri = None if jwks_uri is None else self.url + jwks_uri
        return OidcKeys(IssuerProfile(self.url, frozenset({"holdfast"}), jwks_uri=uri), http)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    async with listening:
        yield made


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    # A client that would follow redirects, were it not told otherwise.
    async with httpx.AsyncClient(trust_env=False, follow_redirects=True) as client:
        yield client


async def test_configured_address_is_asked_directly(
    server: Server, http: httpx.AsyncClient
) -> None:
    server.answer("/jwks", JWKS)
    assert await server.keys(http).fetch() == JWKS
    assert server.asked == ["/jwks"]


async def test_discovery(server: Server, http: httpx.AsyncClient) -> None:
    server.answer(DISCOVERY, {"issuer": server.url, "jwks_uri": server.url + "/other"})
    server.answer("/other", JWKS)
    keys = CachedKeys(server.keys(http, jwks_uri=None).fetch)
    assert await keys.key("k1") is not None
    assert server.asked == [DISCOVERY, "/other"]


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        {"issuer": "SELF"},
        {"issuer": "SELF/", "jwks_uri": "SELF/jwks"},
        {"issuer": "https://evil.example", "jwks_uri": "SELF/jwks"},
        {"issuer": "SELF", "jwks_uri": "http://169.254.169.254/keys"},
        {"issuer": "SELF", "jwks_uri": "file:///etc/passwd"},
        {"issuer": "SELF", "jwks_uri": ["SELF/jwks"]},
    ],
    ids=str,
)
async def test_odd_discovery_document_is_refused(
    server: Server, http: httpx.AsyncClient, document: Any
) -> None:
    server.answer("/jwks", JWKS)
    server.answer(DISCOVERY, json.dumps(document).replace("SELF", server.url).encode())
    with pytest.raises(OidcAnswerRefused):
        await server.keys(http, jwks_uri=None).fetch()
    assert server.asked == [DISCOVERY]


@pytest.mark.parametrize(
    ("body", "status", "header"),
    [
        (b"", "200 OK", "X-A: b"),
        (b"<html>", "200 OK", "X-A: b"),
        (b"\xff\xfe", "200 OK", "X-A: b"),
        (b"[" * 60_000, "200 OK", "X-A: b"),
        (b"[]", "200 OK", "X-A: b"),
        (b'{"keys": {}}', "200 OK", "X-A: b"),
        (b'{"keys": []}' + b" " * MAX_ANSWER_BYTES, "200 OK", "X-A: b"),
        (zlib.compress(b'{"keys": []}' + b" " * 9_000_000), "200 OK", "Content-Encoding: deflate"),
        (b'{"keys": []}', "500 Internal Server Error", "X-A: b"),
        (b'{"keys": []}', "204 No Content", "X-A: b"),
        (b'{"keys": []}', "302 Found", "Location: /elsewhere"),
        (b'{"keys": []}', "308 Permanent Redirect", "Location: /elsewhere"),
    ],
)
async def test_bad_answer_is_refused(
    server: Server, http: httpx.AsyncClient, body: bytes, status: str, header: str
) -> None:
    server.answer("/jwks", body, status, header)
    server.answer("/elsewhere", JWKS)
    with pytest.raises((OidcAnswerRefused, httpx.HTTPError)):
        await server.keys(http).fetch()
    assert server.asked == ["/jwks"]


async def test_endless_answer_is_cut_off(server: Server, http: httpx.AsyncClient) -> None:
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    server.answers["/jwks"] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 50
    with pytest.raises(OidcAnswerRefused, match="more than"):
        await server.keys(http).fetch()


async def test_answer_that_stops_half_way_leaves_the_known_keys(
    server: Server, http: httpx.AsyncClient
) -> None:
    server.answer("/jwks", JWKS)
    now = 0.0
    keys = CachedKeys(server.keys(http).fetch, monotonic=lambda: now)
    assert await keys.key("k1") is not None
    server.answers["/jwks"] = server.answers["/jwks"][:-40]
    now = 3600.0
    assert await keys.key("k1") is not None
    assert server.asked == ["/jwks", "/jwks"]


async def test_nobody_listening_is_an_http_error(http: httpx.AsyncClient) -> None:
    profile = IssuerProfile("http://127.0.0.1:1", frozenset({"holdfast"}))
    with pytest.raises(httpx.HTTPError):
        await OidcKeys(profile, http).fetch()


async def test_https_issuer_may_not_point_to_http() -> None:
    issuer = "https://id.example.com"

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert Request(scope).url.path == DISCOVERY
        answer = JSONResponse({"issuer": issuer, "jwks_uri": "http://localhost:1/jwks"})
        await answer(scope, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
        keys = OidcKeys(IssuerProfile(issuer, frozenset({"holdfast"})), client)
        with pytest.raises(OidcAnswerRefused, match="https to http"):
            await keys.fetch()
