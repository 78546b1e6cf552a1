"""Every refusal is a problem, and repeats nothing that was sent."""

import io
import json
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from app.errors import (
    DatabaseUnavailable,
    DomainError,
    ErrorKind,
    IdempotencyInFlight,
    Overloaded,
    Violation,
)
from app.transport.http.problems.problem import STATUS
from tests.transport.http.tiny import GOOD, JSON, KEY, Tiny, client_of, raises, refusal, tiny_app

MEMBERS = {"type", "title", "status", "detail", "instance", "code", "request_id", "retryable"}
CANARY = "Canary-4711"


def check(answer: httpx.Response) -> dict[str, Any]:
    """Checks the members that all problems have; returns the problem."""
    problem: dict[str, Any] = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem.keys() >= MEMBERS
    assert problem["status"] == answer.status_code
    assert problem["type"] == f"/docs/problems#{problem['code']}"
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert unquote(problem["instance"]) == answer.request.url.path
    assert problem.get("retry_after_seconds") == (
        int(answer.headers["retry-after"]) if "retry-after" in answer.headers else None
    )
    for entry in problem.get("errors", []):
        assert len({"pointer", "parameter", "header"} & entry.keys()) == 1
        assert {"code", "detail"} <= entry.keys()
    return problem


async def refused(error: BaseException) -> httpx.Response:
    async with client_of(tiny_app(Tiny(act=raises(error)))) as client:
        return await client.get("/v1/holds/hold_1", headers=GOOD)


@pytest.mark.parametrize("kind", list(ErrorKind))
async def test_every_kind_has_its_status(kind: ErrorKind) -> None:
    problem = check(await refused(refusal(kind, "some_code")("A detail.")))
    assert problem["status"] == STATUS[kind]
    assert problem["detail"] == "A detail."
    assert problem["retryable"] is (kind in (ErrorKind.EXHAUSTED, ErrorKind.UNAVAILABLE))


@pytest.mark.parametrize(
    ("error", "retryable"),
    [(DatabaseUnavailable(), True), (Overloaded(), True), (IdempotencyInFlight(), True)],
)
async def test_a_retryable_refusal_says_when_to_retry(error: DomainError, retryable: bool) -> None:
    problem = check(await refused(error))
    assert problem["retryable"] is retryable
    assert problem["retry_after_seconds"] == 1


async def test_facts_and_violations_are_further_members() -> None:
    sold_out = refusal(ErrorKind.CONFLICT, "sold_out")
    facts = {"flight_id": "flt_1", "requested": 2, "open": 1}
    problem = check(
        await refused(
            sold_out(
                "Not enough seats.",
                violations=[Violation("pointer", "/segments/1", "sold_out", "One left.", facts)],
                facts={"next_release_at": None, "status": 200},
            )
        )
    )
    assert problem["next_release_at"] is None
    assert problem["errors"] == [
        {"pointer": "/segments/1", "code": "sold_out", "detail": "One left.", **facts}
    ]
    assert problem["status"] == 409  # a fact never replaces a member


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/holds/", "/v1/holds/a/b", "/nö", "/v1/%2e%2e"])
async def test_an_unknown_path(path: str) -> None:
    async with client_of(tiny_app()) as client:
        answer = await client.get(path, headers=GOOD)
    assert check(answer)["code"] == "not_found"


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "BREW"])
async def test_another_method_names_all_that_the_path_takes(method: str) -> None:
    async with client_of(tiny_app()) as client:
        answer = await client.request(method, "/v1/holds")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, POST"
    assert check(answer)["code"] == "method_not_allowed"


async def test_head_is_another_method() -> None:
    async with client_of(tiny_app()) as client:
        answer = await client.head("/v1/holds")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")


async def test_an_unexpected_error_is_not_part_of_the_answer(logged: io.StringIO) -> None:
    problem = check(await refused(RuntimeError(CANARY)))
    assert (problem["status"], problem["code"]) == (500, "internal_error")
    assert CANARY not in json.dumps(problem)
    assert CANARY not in logged.getvalue()
    assert "RuntimeError" in logged.getvalue()


@pytest.mark.parametrize(
    ("body", "at", "code"),
    [
        ({}, "/name", "missing"),
        ({"name": 1}, "/name", "wrong_type"),
        ({"name": "x", "nights": True}, "/nights", "wrong_type"),
        ({"name": "x", "nights": "2"}, "/nights", "wrong_type"),
        ({"name": "x", "nights": 2.0}, "/nights", "wrong_type"),
        ({"name": "x", "nights": 10}, "/nights", "out_of_range"),
        ({"name": "x", "nights": 10**30}, "/nights", "wrong_type"),
        ({"name": "x", "a/b~c": CANARY}, "/a~1b~0c", "unknown_member"),
        ({"name": "x", "m" * 300: 1}, "", "unknown_member"),
        ({"name": "x", "price": {"amount": CANARY, "currency": "CLP"}}, "/price", "invalid"),
        ({"name": "x", "price": {"amount": "1", "currency": CANARY}}, "/price/currency", "invalid"),
        ({"name": "x", "price": {"amount": "1", "currency": "XXQ"}}, "/price", "invalid"),
        ({"name": "x", "passengers": {"ADT": 9, "CHD": 1}}, "/passengers", "out_of_range"),
        ({"name": "x", "passengers": {"ADT": 1, "INF": 2}}, "/passengers", "out_of_range"),
        ({"name": "x", "passengers": {"ADULT": 1}}, "/passengers/ADULT", "unknown_member"),
        ({"name": "x", "born_on": 0}, "/born_on", "wrong_type"),
        ({"name": "x", "born_on": "2026-02-30"}, "/born_on", "wrong_type"),
        ({"name": "x", "born_on": "20260201"}, "/born_on", "invalid"),
        ({"name": "x", "inner": {"name": "x", "nights": -1}}, "/inner/nights", "out_of_range"),
        ([], "", "wrong_type"),
        ("text", "", "wrong_type"),
        (0, "", "wrong_type"),
    ],
)
async def test_what_is_wrong_with_a_body_and_where(body: Any, at: str, code: str) -> None:
    async with client_of(tiny_app()) as client:
        answer = await client.post("/v1/holds", headers={**GOOD, **KEY}, json=body)
    problem = check(answer)
    assert (problem["status"], problem["code"]) == (422, "validation_error")
    assert (at, code) in [(entry["pointer"], entry["code"]) for entry in problem["errors"]]
    assert CANARY not in answer.text


@pytest.mark.parametrize(
    ("query", "at", "code"),
    [
        ("limit=0", "limit", "out_of_range"),
        ("limit=201", "limit", "out_of_range"),
        ("limit=1_0", "limit", "wrong_type"),
        ("limit=%207", "limit", "wrong_type"),
        ("limit=7.0", "limit", "wrong_type"),
        ("limit=", "limit", "wrong_type"),
        ("limit=" + "9" * 5000, "limit", "wrong_type"),
        ("day=5", "day", "invalid"),
        ("after=" + "x" * 3000, "after", "out_of_range"),
    ],
)
async def test_what_is_wrong_with_a_parameter(query: str, at: str, code: str) -> None:
    async with client_of(tiny_app()) as client:
        answer = await client.get(f"/v1/holds?{query}", headers=GOOD)
    problem = check(answer)
    assert [(e["parameter"], e["code"]) for e in problem["errors"]] == [(at, code)]


async def test_null_is_no_body() -> None:
    async with client_of(tiny_app()) as client:
        answer = await client.post("/v1/holds", headers={**GOOD, **KEY, **JSON}, content=b"null")
    assert [(e["pointer"], e["code"]) for e in check(answer)["errors"]] == [("", "wrong_type")]


async def test_many_violations_are_cut_to_a_bounded_number() -> None:
    body = {"name": "x", **{f"unknown{i}": i for i in range(500)}}
    async with client_of(tiny_app()) as client:
        answer = await client.post("/v1/holds", headers={**GOOD, **KEY}, json=body)
    assert len(check(answer)["errors"]) == 20


async def test_a_long_path_is_not_given_back_whole() -> None:
    async with client_of(tiny_app()) as client:
        answer = await client.get("/" + "é" * 5000)
    assert len(answer.json()["instance"]) == 1024
