"""The order of refusals, and which requests pass."""

from itertools import combinations
from typing import Any

import httpx
import pytest

from app.transport.http.pipeline.body import BODY_MAX, fingerprint
from tests.transport.http.tiny import GOOD, JSON, KEY, Tiny, client_of, tiny_app

# Each fault spoils one part of a valid request. They are in the order of the contract.
Request = dict[str, Any]
FAULTS: list[tuple[str, int, str]] = [
    ("method", 405, "method_not_allowed"),
    ("token", 401, "unauthenticated"),
    ("scope", 403, "scope_missing"),
    ("size", 413, "body_too_large"),
    ("media type", 415, "unsupported_media_type"),
    ("json", 400, "malformed_json"),
    ("key", 400, "idempotency_key_missing"),
    ("member", 422, "validation_error"),
]


def spoiled(*faults: str) -> Request:
    headers = {**GOOD, **KEY, **JSON}
    content = b'{"name": "x"}'
    method = "POST"
    for fault in reversed(faults):
        match fault:
            case "method":
                method = "PATCH"
            case "token":
                headers["Authorization"] = "Bearer bad"
            case "scope":
                headers["Authorization"] = "Bearer poor"
            case "size":
                content += b" " * BODY_MAX
            case "media type":
                headers["Content-Type"] = "text/plain"
            case "json":
                content = content[:-1]
            case "key":
                del headers["Idempotency-Key"]
            case "member":
                content = content[:-1] + b', "more": 1}'
    return {"method": method, "url": "/v1/holds", "headers": headers, "content": content}


@pytest.mark.parametrize(("fault", "status", "code"), FAULTS)
async def test_each_fault_alone(fault: str, status: int, code: str) -> None:
    tiny = Tiny()
    async with client_of(tiny_app(tiny)) as client:
        answer = await client.request(**spoiled(fault))
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert tiny.calls == []


@pytest.mark.parametrize(("first", "second"), list(combinations(FAULTS, 2)))
async def test_the_earlier_of_two_faults_is_answered(
    first: tuple[str, int, str], second: tuple[str, int, str]
) -> None:
    async with client_of(tiny_app()) as client:
        answer = await client.request(**spoiled(first[0], second[0]))
    assert (answer.status_code, answer.json()["code"]) == first[1:]


async def test_a_valid_request_passes_with_its_caller_and_its_key() -> None:
    async with client_of(tiny_app()) as client:
        answer = await client.request(**spoiled())
    assert answer.status_code == 201
    assert answer.json() == {
        "tenant": "t1",
        "name": "x",
        "key": "k-1",
        "request_hash": fingerprint({"name": "x"}),
    }


async def test_a_body_that_stops_coming_is_not_read_before_the_caller_is_known() -> None:
    app = tiny_app()
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("the body was read")

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "http_version": "1.1", "method": "POST", "path": "/v1/holds",
        "raw_path": b"/v1/holds", "query_string": b"", "headers": [], "scheme": "http",
        "server": ("holdfast", 80), "client": ("127.0.0.1", 1), "root_path": "",
    }  # fmt: skip
    await app(scope, receive, send)
    assert sent[0]["status"] == 401


@pytest.mark.parametrize(
    "value",
    ["", "good", "bearer good", "Bearer", "Bearer ", "Bearer  good", "Bearer good x", "Basic good",
     "Bearer " + "x" * 9000],
)  # fmt: skip
async def test_only_a_bearer_token_is_a_token(value: str) -> None:
    async with client_of(tiny_app()) as client:
        answer = await client.get("/v1/holds", headers={"Authorization": value})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_two_authorization_headers_are_none() -> None:
    async with client_of(tiny_app()) as client:
        answer = await client.get(
            "/v1/holds",
            headers=[("Authorization", "Bearer good"), ("Authorization", "Bearer good")],
        )
    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ("k", "k"),
        ("a key with spaces", "a key with spaces"),
        ('"quoted"', "quoted"),
        (r'"a \"b\" \\"', r'a "b" \ '.strip()),
        ("k" * 255, "k" * 255),
        ('"' + "k" * 255 + '"', "k" * 255),
        ('semi"colon', 'semi"colon'),
    ],
)
async def test_accepted_keys(value: str, key: str) -> None:
    async with client_of(tiny_app()) as client:
        answer = await client.post(
            "/v1/holds", headers={**GOOD, "Idempotency-Key": value}, json={"name": "x"}
        )
    assert answer.json()["key"] == key


@pytest.mark.parametrize(
    "value",
    ["", '""', '"', '"open', '"a"b"', r'"\x"', "k" * 256, '"' + "k" * 256 + '"', "é", "a\tb"],
)
async def test_refused_keys(value: str) -> None:
    async with client_of(tiny_app()) as client:
        answer = await client.post(
            "/v1/holds",
            headers=[
                (b"Authorization", b"Bearer good"),
                (b"Idempotency-Key", value.encode("latin-1")),
            ],
            json={"name": "x"},
        )
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (400, "idempotency_key_missing")
    assert [entry["header"] for entry in problem["errors"]] == ["Idempotency-Key"]


async def test_two_keys_are_refused() -> None:
    headers = [("Authorization", "Bearer good"), ("Idempotency-Key", "a"), ("Idempotency-Key", "a")]
    async with client_of(tiny_app()) as client:
        answer = await client.post("/v1/holds", headers=headers, json={"name": "x"})
    assert answer.json()["code"] == "idempotency_key_missing"


async def test_an_optional_key_may_be_absent() -> None:
    async with client_of(tiny_app()) as client:
        without = await client.post("/v1/holds/hold_1/extend", headers=GOOD)
        with_key = await client.post("/v1/holds/hold_1/extend", headers={**GOOD, **KEY})
        empty_object = await client.post(
            "/v1/holds/hold_1/extend", headers={**GOOD, **KEY}, json={}
        )
    assert (without.json()["key"], with_key.json()["key"]) == (None, "k-1")
    assert with_key.json() == empty_object.json()


@pytest.mark.parametrize(
    ("content", "content_type", "status", "code"),
    [
        (b"{}", "application/json", 200, None),
        (b"", "application/json", 200, None),
        (b"{}", None, 415, "unsupported_media_type"),
        (b"{", "application/json", 400, "malformed_json"),
        (b'{"a": 1}', "application/json", 422, "validation_error"),
        (b"[]", "application/json", 422, "validation_error"),
        (b"null", "application/json", 422, "validation_error"),
        (b" " * (BODY_MAX + 1), "application/json", 413, "body_too_large"),
    ],
)
async def test_a_route_without_a_body_ignores_none(
    content: bytes, content_type: str | None, status: int, code: str | None
) -> None:
    headers = {**GOOD, **({"Content-Type": content_type} if content_type else {})}
    async with client_of(tiny_app()) as client:
        answer = await client.post("/v1/holds/hold_1/extend", headers=headers, content=content)
        released = await client.request("DELETE", "/v1/holds/h", headers=headers, content=content)
    assert (answer.status_code, answer.json().get("code")) == (status, code)
    assert released.status_code == (204 if status == 200 else status)


async def test_nul_is_refused_everywhere() -> None:
    tiny = Tiny()
    async with client_of(tiny_app(tiny)) as client:
        path = await client.get("/v1/holds/hold_%00", headers=GOOD)
        query = await client.get("/v1/holds?text=a%00b", headers=GOOD)
        body = await client.post(
            "/v1/holds", headers={**GOOD, **KEY}, json={"name": "x", "inner": {"name": "\0"}}
        )
    assert (path.status_code, path.json()["code"]) == (404, "not_found")
    assert query.json()["errors"][0]["parameter"] == "text"
    assert body.json()["errors"][0]["pointer"] == "/inner/name"
    assert tiny.calls == []


async def test_the_same_json_spelled_differently_has_the_same_hash() -> None:
    spellings = [b'{"name":"\\u0061","nights":2}', b' { "nights" : 2 , "name" : "a" } ']
    hashes = set()
    async with client_of(tiny_app()) as client:
        for content in spellings:
            answer = await client.post(
                "/v1/holds", headers={**GOOD, **KEY, **JSON}, content=content
            )
            hashes.add(answer.json()["request_hash"])
    assert len(hashes) == 1


def test_the_answer_of_a_client_error_is_a_problem(client_error: httpx.Response) -> None:
    assert client_error.headers["content-type"] == "application/problem+json"


@pytest.fixture
async def client_error() -> httpx.Response:
    async with client_of(tiny_app()) as client:
        return await client.post("/v1/holds")
