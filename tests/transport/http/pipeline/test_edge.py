"""Headers of every answer, metrics, log lines and the deadline."""

import asyncio
import io
import json
from typing import Any

import pytest
from prometheus_client import REGISTRY
from starlette.responses import StreamingResponse

from app.transport.http.application import Limits
from tests.transport.http.tiny import GOOD, KEY, Tiny, client_of, raises, tiny_app, until

PATHS = ["/livez", "/docs", "/openapi.json", "/nowhere", "/v1/holds", "/v1/holds/hold_1"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("headers", [{}, GOOD])
async def test_standard_headers(path: str, headers: dict[str, str]) -> None:
    async with client_of(tiny_app()) as client:
        answer = await client.get(path, headers=headers)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert len(answer.headers["x-request-id"]) == 32
    assert (answer.headers.get("cache-control") == "no-store") is path.startswith("/v1/holds")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("a", True),
        ("A-b_c.9", True),
        ("x" * 64, True),
        ("", False),
        ("x" * 65, False),
        ("a b", False),
        ("a\tb", False),
        ("é", False),
        ("<script>", False),
    ],
)
@pytest.mark.parametrize("path", ["/livez", "/nowhere", "/v1/holds"])
async def test_a_request_id_is_kept_if_it_is_harmless(given: str, kept: bool, path: str) -> None:
    async with client_of(tiny_app()) as client:
        answer = await client.get(path, headers=[(b"X-Request-Id", given.encode("latin-1"))])
    assert (answer.headers["x-request-id"] == given) is kept


async def test_an_internal_error_has_a_request_id() -> None:
    async with client_of(tiny_app(Tiny(act=raises(RuntimeError())))) as client:
        answer = await client.get("/v1/holds", headers={**GOOD, "X-Request-Id": "mine"})
    assert (answer.status_code, answer.headers["x-request-id"]) == (500, "mine")


async def test_an_unexpected_error_is_a_problem_wherever_it_is_raised(logged: io.StringIO) -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError

    async with client_of(tiny_app(mounts={"/mounted": broken})) as client:
        answer = await client.get("/mounted/x", headers={"X-Request-Id": "mine"})
    await asyncio.sleep(0)  # written once for each tick
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["request_id"]) == (
        500,
        "internal_error",
        "mine",
    )
    error, line = (json.loads(text) for text in logged.getvalue().splitlines())
    assert (error["request_id"], error["error_type"]) == ("mine", "RuntimeError")
    assert (line["status"], line["code"]) == (500, "internal_error")


async def test_one_log_line_for_each_request(logged: io.StringIO) -> None:
    headers = {**GOOD, "X-Request-Id": "r1"}
    async with client_of(tiny_app()) as client:
        await client.get("/v1/holds/hold_secret?family_name=Canary", headers=headers)
        await client.get("/v1/nowhere/canary", headers=headers)
        await client.post("/v1/holds?x=canary", json={"name": "Canary"}, headers=headers)
        await client.get("/livez")
    await asyncio.sleep(0)  # written once for each tick
    assert "anary" not in logged.getvalue()
    assert "Bearer" not in logged.getvalue()
    lines: list[dict[str, Any]] = [json.loads(line) for line in logged.getvalue().splitlines()]
    seen = [(line["method"], line["route"], line["status"], line.get("code")) for line in lines]
    assert seen == [
        ("GET", "/v1/holds/{hold_id}", 422, "validation_error"),
        ("GET", "unmatched", 404, "not_found"),
        ("POST", "/v1/holds", 400, "idempotency_key_missing"),
    ]
    assert {line["request_id"] for line in lines} == {"r1"}
    assert (lines[0]["tenant_id"], lines[0]["client_id"]) == ("t1", "client-1")


@pytest.mark.parametrize(
    ("method", "path", "labels"),
    [
        ("GET", "/v1/holds/hold_1", ("GET", "/v1/holds/{hold_id}", "200")),
        ("PUT", "/v1/holds/hold_1", ("PUT", "/v1/holds/{hold_id}", "405")),
        ("GET", "/nowhere/4711", ("GET", "unmatched", "404")),
        ("BREW", "/nowhere/4712", ("other", "unmatched", "404")),
        ("GET", "/docs", ("GET", "/docs", "200")),
        ("GET", "/mounted/anything/4713", ("GET", "/mounted", "200")),
    ],
)
async def test_requests_are_counted_by_template(
    method: str, path: str, labels: tuple[str, str, str]
) -> None:
    async def mounted(scope: Any, receive: Any, send: Any) -> None:
        await StreamingResponse(iter([b"ok"]))(scope, receive, send)

    sample = dict(zip(("method", "route", "status"), labels, strict=True))
    before = REGISTRY.get_sample_value("holdfast_http_requests_total", sample) or 0
    async with client_of(tiny_app(mounts={"/mounted": mounted})) as client:
        await client.request(method, path, headers=GOOD)
    after = REGISTRY.get_sample_value("holdfast_http_requests_total", sample)
    assert after == before + 1
    await asyncio.sleep(0)  # written once for each tick
    assert REGISTRY.get_sample_value("holdfast_http_in_flight") == 0


async def test_a_late_answer_is_refused_as_overloaded() -> None:
    app = tiny_app(Tiny(act=_without_end), limits=Limits(deadline_seconds=0.05))
    async with client_of(app) as client:
        answer = await client.get("/v1/holds", headers=GOOD)
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["retryable"]) == (503, "overloaded", True)
    assert answer.headers["retry-after"] == "1"


async def test_a_timeout_inside_is_not_the_deadline() -> None:
    async with client_of(tiny_app(Tiny(act=raises(TimeoutError())))) as client:
        answer = await client.get("/v1/holds", headers=GOOD)
    assert answer.status_code == 500


async def test_a_change_continues_after_the_deadline() -> None:
    go, done = asyncio.Event(), asyncio.Event()

    async def change() -> None:
        await go.wait()
        done.set()

    app = tiny_app(Tiny(change=change), limits=Limits(deadline_seconds=0.05))
    async with client_of(app) as client:
        answer = await client.post("/v1/holds", headers={**GOOD, **KEY}, json={"name": "x"})
    assert answer.status_code == 503
    assert not done.is_set()
    go.set()
    await until(done.is_set)


async def test_the_deadline_is_for_the_start_of_a_stream() -> None:
    async def slow(scope: Any, receive: Any, send: Any) -> None:
        async def parts() -> Any:
            yield b"a"
            await asyncio.sleep(0.15)  # three deadlines: what is tested is that time passes
            yield b"b"

        await StreamingResponse(parts())(scope, receive, send)

    app = tiny_app(limits=Limits(deadline_seconds=0.05), mounts={"/stream": slow})
    async with client_of(app) as client:
        answer = await client.get("/stream/")
    assert answer.text == "ab"


async def test_a_client_that_disconnects_in_its_body_is_no_error() -> None:
    app = tiny_app()
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"authorization", b"Bearer good")]
    await app({**SCOPE, "method": "POST", "headers": headers}, receive, send)
    assert sent == []


async def _without_end() -> None:
    await asyncio.Event().wait()


SCOPE: dict[str, Any] = {
    "type": "http", "http_version": "1.1", "method": "GET", "path": "/v1/holds",
    "raw_path": b"/v1/holds", "query_string": b"", "headers": [], "scheme": "http",
    "server": ("holdfast", 80), "client": ("127.0.0.1", 1), "root_path": "",
}  # fmt: skip
