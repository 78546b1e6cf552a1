"""The development issuer: RFC 6749 as far as it goes, tokens we believe, one key for all."""

import asyncio
import base64
import json
import os
import stat
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount

from app.adapters.oidc import OidcKeys
from app.dev.issuer import CLIENTS, KEY_FILE, dev_issuer_app, dev_keys, dev_profile, mint_token
from app.identity.errors import Unauthenticated
from app.identity.keys import CachedKeys
from app.identity.principal import Scope
from app.identity.profile import IssuerProfile
from app.identity.verifier import Verifier

URL = "http://localhost:8000/dev/oidc"
NOW = datetime(2026, 12, 10, 12, 0, tzinfo=UTC)
FORM = {"grant_type": "client_credentials", "client_id": "demo", "client_secret": "demo"}
PARTNER = frozenset(Scope) - {Scope.INVENTORY_ADMIN}


def clock() -> datetime:
    return NOW


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data") / "not-there-yet"


@pytest.fixture
async def http(data_dir: Path) -> AsyncIterator[httpx.AsyncClient]:
    async def problem(_: Request, failure: Exception) -> PlainTextResponse:
        return PlainTextResponse("problem", status_code=getattr(failure, "status_code", 500))

    mounted = Starlette(
        routes=[Mount("/dev/oidc", dev_issuer_app(data_dir, URL, clock))],
        exception_handlers={404: problem, 405: problem},
    )
    transport = httpx.ASGITransport(mounted)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8000") as client:
        yield client


def verifier(data_dir: Path, now: datetime = NOW) -> Verifier:
    return Verifier([(dev_profile(URL), dev_keys(data_dir))], clock=lambda: now)


def basic(client_id: str, secret: str) -> dict[str, str]:
    pair = base64.b64encode(f"{client_id}:{secret}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}


def claims_of(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    read: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return read


# --- tokens -----------------------------------------------------------------------------------


@pytest.mark.parametrize("client_id", CLIENTS)
async def test_each_client_gets_all_its_scopes(
    http: httpx.AsyncClient, data_dir: Path, client_id: str
) -> None:
    form = FORM | {"client_id": client_id, "client_secret": client_id, "scope": ""}
    answer = await http.post("/dev/oidc/token", data=form)
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    body = answer.json()
    assert (body["token_type"], body["expires_in"]) == ("Bearer", 3600)
    principal = await verifier(data_dir).verify(body["access_token"])
    assert principal.tenant_id == principal.client_id == principal.subject == client_id
    assert principal.scopes == (frozenset(Scope) if client_id == "ops" else PARTNER)
    assert set(body["scope"].split()) == {scope.value for scope in principal.scopes}


async def test_claims(http: httpx.AsyncClient) -> None:
    tokens = [
        (await http.post("/dev/oidc/token", data=FORM)).json()["access_token"] for _ in range(2)
    ]
    first, second = map(claims_of, tokens)
    assert (first["iss"], first["aud"]) == (URL, "holdfast")
    assert (first["iat"], first["exp"]) == (NOW.timestamp(), NOW.timestamp() + 3600)
    assert first["jti"] != second["jti"]


async def test_scope_narrows(http: httpx.AsyncClient, data_dir: Path) -> None:
    form = FORM | {"scope": "events:read offers:read"}
    body = (await http.post("/dev/oidc/token", data=form)).json()
    assert body["scope"] == "offers:read events:read"
    principal = await verifier(data_dir).verify(body["access_token"])
    assert principal.scopes == {Scope.OFFERS_READ, Scope.EVENTS_READ}


async def test_token_ends_after_its_hour(data_dir: Path) -> None:
    token = mint_token(data_dir, URL, "ops", clock)
    assert Scope.INVENTORY_ADMIN in (await verifier(data_dir).verify(token)).scopes
    with pytest.raises(Unauthenticated):
        await verifier(data_dir, NOW + timedelta(seconds=3630)).verify(token)


def test_mint_for_nobody(data_dir: Path) -> None:
    with pytest.raises(ValueError, match="demo, rival, ops, limited"):
        mint_token(data_dir, URL, "nobody", clock)


# --- how a client shows who it is -------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "form"),
    [
        (basic("demo", "demo"), {"grant_type": "client_credentials"}),
        (basic("d%65mo", "dem%6F"), {"grant_type": "client_credentials"}),
        (basic("demo", "demo"), {"grant_type": "client_credentials", "client_id": "demo"}),
        ({}, FORM),
    ],
)
async def test_ways_to_authenticate(
    http: httpx.AsyncClient, headers: dict[str, str], form: dict[str, str]
) -> None:
    assert (await http.post("/dev/oidc/token", data=form, headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("headers", "changed"),
    [
        ({}, {"client_secret": "rival"}),
        ({}, {"client_secret": ""}),
        ({}, {"client_id": "nobody", "client_secret": "nobody"}),
        ({}, {"client_id": "", "client_secret": ""}),
        ({}, {"client_id": "démo", "client_secret": "démo"}),
        (basic("demo", "wrong"), {"client_secret": ""}),
        (basic("", ""), {"client_id": "", "client_secret": ""}),
        (basic("%ff", "%ff"), {"client_id": "", "client_secret": ""}),
        ({"Authorization": "Basic"}, {"client_secret": ""}),
        ({"Authorization": "Basic !!!"}, {"client_secret": ""}),
        ({"Authorization": "Basic /w=="}, {"client_secret": ""}),
        ({"Authorization": "Basic ZGVtbw=="}, {"client_secret": ""}),
        ({"Authorization": "Bearer demo"}, {"client_secret": ""}),
    ],
)
async def test_wrong_credentials(
    http: httpx.AsyncClient, headers: dict[str, str], changed: dict[str, str]
) -> None:
    answer = await http.post("/dev/oidc/token", data=FORM | changed, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"grant_type": ""}, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"scope": "offers:read inventory:admin"}, "invalid_scope"),
        ({"scope": "openid"}, "invalid_scope"),
        ({"client_id": ["demo", "demo"]}, "invalid_request"),
        ({f"x{number}": "y" for number in range(20)}, "invalid_request"),
    ],
)
async def test_wrong_request(http: httpx.AsyncClient, changed: dict[str, Any], error: str) -> None:
    answer = await http.post("/dev/oidc/token", data=FORM | changed)
    assert (answer.status_code, answer.json()["error"]) == (400, error)
    assert answer.headers["Cache-Control"] == "no-store"
    assert "WWW-Authenticate" not in answer.headers


@pytest.mark.parametrize(
    ("media_type", "body", "status"),
    [
        ("application/json", json.dumps(FORM).encode(), 400),
        ("multipart/form-data; boundary=x", b"--x--", 400),
        ("", b"grant_type=client_credentials", 400),
        ("application/x-www-form-urlencoded", b"client_id=\xff", 400),
        ("application/x-www-form-urlencoded", b"client_id=%ff", 400),
        ("application/x-www-form-urlencoded", b"a=" + b"x" * 8192, 413),
    ],
)
async def test_unreadable_body(
    http: httpx.AsyncClient, media_type: str, body: bytes, status: int
) -> None:
    headers = {"Content-Type": media_type}
    answer = await http.post("/dev/oidc/token", content=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (status, "invalid_request")


async def test_two_ways_at_once(http: httpx.AsyncClient) -> None:
    for form, headers in [
        (FORM, basic("demo", "demo")),
        ({"grant_type": "client_credentials", "client_id": "rival"}, basic("demo", "demo")),
    ]:
        answer = await http.post("/dev/oidc/token", data=form, headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_media_type_with_a_charset(http: httpx.AsyncClient) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8"}
    body = "grant_type=client_credentials&client_id=demo&client_secret=demo"
    assert (await http.post("/dev/oidc/token", content=body, headers=headers)).status_code == 200


async def test_other_routes_are_answered_by_the_application_around(
    http: httpx.AsyncClient,
) -> None:
    for method, path, status in [
        ("GET", "/dev/oidc/token", 405),
        ("POST", "/dev/oidc/jwks", 405),
        ("GET", "/dev/oidc/authorize", 404),
    ]:
        answer = await http.request(method, path)
        assert (answer.status_code, answer.text) == (status, "problem")


# --- as any other issuer ----------------------------------------------------------------------


async def test_over_a_real_socket_by_discovery(tmp_path: Path) -> None:
    with uvicorn.Config(lambda: None, port=0).bind_socket() as listening:
        issuer = f"http://127.0.0.1:{listening.getsockname()[1]}"
        config = uvicorn.Config(
            dev_issuer_app(tmp_path, issuer, clock), log_level="warning", lifespan="off"
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        async with httpx.AsyncClient(trust_env=False) as http:
            answer = await http.post(f"{issuer}/token", data=FORM)
            keys = CachedKeys(OidcKeys(IssuerProfile(issuer, frozenset({"holdfast"})), http).fetch)
            judge = Verifier([(dev_profile(issuer), keys)], clock=clock)
            assert (await judge.verify(answer.json()["access_token"])).tenant_id == "demo"
        server.should_exit = True
        await serving


async def test_discovery_document(http: httpx.AsyncClient) -> None:
    document = (await http.get("/dev/oidc/.well-known/openid-configuration")).json()
    assert document["issuer"] == URL
    assert document["token_endpoint"] == f"{URL}/token"
    assert set(document["scopes_supported"]) == set(Scope)
    (jwk,) = (await http.get(document["jwks_uri"])).json()["keys"]
    assert set(jwk) == {"kty", "kid", "use", "alg", "n", "e"}  # and nothing private


# --- the key ----------------------------------------------------------------------------------


async def test_restart_keeps_the_key(tmp_path: Path) -> None:
    token = mint_token(tmp_path, URL, "demo", clock)
    written = (tmp_path / KEY_FILE).read_bytes()
    assert (await verifier(tmp_path).verify(token)).tenant_id == "demo"
    assert (tmp_path / KEY_FILE).read_bytes() == written
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600


async def test_token_of_another_data_dir_is_refused(tmp_path: Path, data_dir: Path) -> None:
    with pytest.raises(Unauthenticated):
        await verifier(data_dir).verify(mint_token(tmp_path, URL, "demo", clock))


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"private_key": 1}', '{"private_key": "x"}'])
def test_damaged_key_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / KEY_FILE).write_text(text)
    with pytest.raises(ValueError, match=KEY_FILE):
        dev_keys(tmp_path)


_MINT = """
import sys
from pathlib import Path
from app.clock import utc_now
from app.dev.issuer import mint_token
sys.stdout.write("ready\\n"); sys.stdout.flush(); sys.stdin.readline()
print(mint_token(Path(sys.argv[1]), sys.argv[2], "demo", utc_now))
"""


async def test_processes_that_start_together_share_one_key(tmp_path: Path) -> None:
    async def racer() -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _MINT, str(tmp_path), URL),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        return process

    racers = await asyncio.gather(*(racer() for _ in range(4)))
    outputs = await asyncio.gather(*(process.communicate(b"\n") for process in racers))
    judge = verifier(tmp_path, datetime.now(UTC))
    tokens = [printed.decode().strip() for printed, _ in outputs]
    assert {(await judge.verify(token)).tenant_id for token in tokens} == {"demo"}
    assert os.listdir(tmp_path) == [KEY_FILE]
