"""Probes are correct, answer in time, and cost little."""

import asyncio

import pytest

from app.errors import DatabaseUnavailable
from app.transport.http.routers import health
from tests.transport.http.tiny import Act, client_of, raises, tiny_app


async def fine() -> None:
    return None


async def hangs() -> None:
    await asyncio.Event().wait()


async def test_alive() -> None:
    async with client_of(tiny_app()) as client:
        answer = await client.get("/livez")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_ready() -> None:
    async with client_of(tiny_app(checks={"database": fine, "redis": fine})) as client:
        answer = await client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "checks": {"database": "ok", "redis": "ok"}}


@pytest.mark.parametrize(
    ("check", "reason"),
    [
        (
            raises(DatabaseUnavailable("The database is unreachable.")),
            "The database is unreachable.",
        ),
        (raises(OSError("password=canary")), "unavailable (OSError)"),
        (hangs, "no answer within 0.05 s"),
    ],
)
async def test_not_ready_says_why(monkeypatch: pytest.MonkeyPatch, check: Act, reason: str) -> None:
    monkeypatch.setattr(health, "CHECK_SECONDS", 0.05)
    async with client_of(tiny_app(checks={"database": check, "redis": fine})) as client:
        answer = await client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {
        "status": "unavailable",
        "checks": {"database": reason, "redis": "ok"},
    }


async def test_concurrent_probes_share_one_check(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0

    async def check() -> None:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)

    async with client_of(tiny_app(checks={"database": check})) as client:
        await asyncio.gather(*(client.get("/readyz") for _ in range(20)))
        assert asked == 1
        monkeypatch.setattr(health, "CACHED_SECONDS", 0)
        await client.get("/readyz")
    assert asked == 2


async def test_metrics_are_for_prometheus() -> None:
    async with client_of(tiny_app()) as client:
        await client.get("/livez")
        answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert 'holdfast_http_requests_total{method="GET",route="/livez",status="200"}' in answer.text
