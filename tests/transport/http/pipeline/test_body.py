"""Bodies that are not JSON, or not strict JSON."""

import pytest

from app.transport.http.pipeline.body import BODY_MAX, DEPTH_MAX
from tests.transport.http.tiny import GOOD, JSON, KEY, Tiny, client_of, tiny_app

MALFORMED = [
    b"", b" ", b"{", b"nul", b"{'name': 1}", b'{"name": "x",}', b'{"name": "x"} {}',
    b'{"name": NaN}', b'{"name": Infinity}', b'{"name": -Infinity}',
    b'{"name": "x", "name": "y"}', b'{"inner": {"name": "x", "name": "x"}}',
    b'{"name": "\xff"}', b"\xff\xfe{}", b'\xef\xbb\xbf{"name": "x"}',
    '{"name": "x"}'.encode("utf-16"), b'{"name": "\x01"}',
    b"[" * 60_000, b'{"a":' * 10_000, b"[" * (DEPTH_MAX + 1) + b"]" * (DEPTH_MAX + 1),
]  # fmt: skip


@pytest.mark.parametrize("content", MALFORMED, ids=range(len(MALFORMED)))
async def test_malformed_json(content: bytes) -> None:
    tiny = Tiny()
    async with client_of(tiny_app(tiny)) as client:
        answer = await client.post("/v1/holds", headers={**GOOD, **KEY, **JSON}, content=content)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_json")
    assert tiny.calls == []


@pytest.mark.parametrize(
    "content",
    [
        b'{"name": "\\u0000"}',
        b'{"name": "\\ud800"}',
        b'{"name": "x", "\\udfff": 1}',
        b'{"name": ' + b"9" * 60_000 + b"}",
        b'{"name": 1e999999}',
        b"[" * DEPTH_MAX + b"]" * DEPTH_MAX,
    ],
)
async def test_json_that_is_not_strict(content: bytes) -> None:
    async with client_of(tiny_app()) as client:
        answer = await client.post("/v1/holds", headers={**GOOD, **KEY, **JSON}, content=content)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_error")


@pytest.mark.parametrize(
    "media_type",
    ["application/json", "Application/JSON", "application/json; charset=utf-8",
     'application/json;charset="UTF-8"', "application/vnd.holdfast+json"],
)  # fmt: skip
async def test_media_types_that_are_json(media_type: str) -> None:
    headers = {**GOOD, **KEY, "Content-Type": media_type}
    async with client_of(tiny_app()) as client:
        answer = await client.post("/v1/holds", headers=headers, content=b'{"name": "x"}')
    assert answer.status_code == 201


@pytest.mark.parametrize(
    "media_type",
    ["", "json", "text/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b",
     "application/json; charset=latin-1", "application/jsonp", "application/+json", "text/x+json"],
)  # fmt: skip
async def test_media_types_that_are_not(media_type: str) -> None:
    headers = {**GOOD, **KEY, "Content-Type": media_type}
    async with client_of(tiny_app()) as client:
        answer = await client.post("/v1/holds", headers=headers, content=b'{"name": "x"}')
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


async def test_a_body_of_the_maximum_size_is_accepted() -> None:
    content = b'{"name": "x"}'.ljust(BODY_MAX)
    async with client_of(tiny_app()) as client:
        fits = await client.post("/v1/holds", headers={**GOOD, **KEY, **JSON}, content=content)
        over = await client.post(
            "/v1/holds", headers={**GOOD, **KEY, **JSON}, content=content + b" "
        )
    assert (fits.status_code, over.status_code) == (201, 413)
