"""The documentation pages and the examples: complete, self-contained and valid."""

import inspect
import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import jsonschema_rs
import pytest
from fastapi import FastAPI

import app.booking.errors
import app.errors
import app.hold.errors
import app.identity.errors
import app.schedule.errors
import app.transport.http.problems.problem
from app.errors import DomainError
from app.main import application, examples_on
from app.settings import Settings
from app.transport.http.openapi.docs_page import ASSETS, STATIC
from app.transport.http.openapi.document import TAGS, operations, with_examples
from app.transport.http.problems.problem import STATUS, Refusal
from app.transport.http.problems.responses import example_of
from app.transport.http.problems.types import PROBLEM_TYPES
from tests.transport.http.tiny import client_of, tiny_app

DAY = date(2026, 11, 22)
Json = dict[str, Any]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    """The whole of it; nothing is connected to before the first request that needs it."""
    environment = {
        "DATA_DIR": str(tmp_path_factory.mktemp("data")),
        "DATABASE_URL": "postgresql+asyncpg://nobody:nothing@127.0.0.1:1/nowhere",
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "DEV_IDENTITY": "1",
    }
    moment = datetime(DAY.year, DAY.month, DAY.day, 9, tzinfo=UTC)
    return application(Settings.from_environment(environment), lambda: moment)


@pytest.fixture(scope="module")
def document(program: FastAPI) -> Json:
    return program.openapi()


@pytest.mark.parametrize("path", ["/docs", "/docs/problems"])
async def test_a_page_asks_nothing_of_another_host(path: str) -> None:
    async with client_of(tiny_app()) as client:
        page = await client.get(path)
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "//" not in policy
        assert not re.search(r"<script(?![^>]* src=)", page.text), "no script stands in the page"
        links = re.findall(r'(?:src|href)="([^"#]+)"', page.text)
        assert links
        for link in links:
            assert ":" not in link, "every address is relative"
            answer = await client.get(str(page.url.join(link)))
            assert answer.status_code == 200, link


async def test_parts_of_the_page_are_typed_and_kept_by_the_browser() -> None:
    async with client_of(tiny_app()) as client:
        page = (await client.get("/docs")).text
        for name, media_type in ASSETS.items():
            (address,) = set(re.findall(rf'"(docs/static/{re.escape(name)}\?v=[0-9a-f]+)"', page))
            answer = await client.get(f"/{address}")
            assert answer.headers["content-type"] == media_type
            assert answer.content == (STATIC / name).read_bytes()
            assert "immutable" in answer.headers["cache-control"]
            newer = await client.get(f"/docs/static/{name}?v=another")
            assert newer.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "name", ["README.md", "swagger-ui.LICENSE", "..%2Fdocs.py", "%2e%2e/docs.py", "", "docs.js/"]
)
async def test_nothing_else_is_handed_out(name: str) -> None:
    async with client_of(tiny_app()) as client:
        answer = await client.get(f"/docs/static/{name}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_a_client_is_filled_in_only_where_there_is_an_issuer_for_it() -> None:
    async with client_of(tiny_app(demo_client="demo")) as client:
        assert 'data-client="demo"' in (await client.get("/docs")).text
    async with client_of(tiny_app()) as client:
        assert "data-client" not in (await client.get("/docs")).text


def test_every_refusal_is_explained_once() -> None:
    modules = (
        app.errors,
        app.booking.errors,
        app.hold.errors,
        app.identity.errors,
        app.schedule.errors,
        app.transport.http.problems.problem,
    )
    known = {
        error.code: STATUS[error.kind] if issubclass(error, DomainError) else error.status
        for module in modules
        for _, error in inspect.getmembers(module, inspect.isclass)
        if issubclass(error, DomainError | Refusal) and error not in (DomainError, Refusal)
    }
    assert {one.code: one.status for one in PROBLEM_TYPES} == known
    assert len(PROBLEM_TYPES) == len(known)


async def test_the_page_of_problems_has_a_place_for_every_type() -> None:
    async with client_of(tiny_app()) as client:
        page = (await client.get("/docs/problems")).text
        (refused,) = [one for one in PROBLEM_TYPES if one.code == "unauthenticated"]
        answer = await client.get("/v1/holds")
    for one in PROBLEM_TYPES:
        assert f'<section id="{one.code}">' in page
    real, example = answer.json(), example_of(refused)
    assert real["type"] == example["type"] == "/docs/problems#unauthenticated"
    for name in ("title", "status", "detail", "code", "retryable"):
        assert real[name] == example[name]


def test_every_operation_says_what_it_is(document: Json) -> None:
    assert [tag["name"] for tag in document["tags"]] == list(TAGS)
    names = []
    for operation in operations(document):
        names.append(operation["operationId"])
        assert set(operation["tags"]) <= TAGS.keys()
        assert operation["summary"]
        assert operation["description"]
        assert any(status.startswith("4") for status in operation["responses"])
    assert len(set(names)) == len(names)


def test_every_success_and_every_refusal_has_an_example(document: Json) -> None:
    for operation in operations(document):
        for status, response in operation["responses"].items():
            for media_type, content in response.get("content", {}).items():
                if media_type != "text/plain":
                    where = f"{operation['operationId']} {status}"
                    assert "example" in content or content.get("examples"), where


def test_every_example_has_the_shape_it_is_an_example_of(document: Json) -> None:
    checked = 0
    for schema, value in _examples(document):
        validator = jsonschema_rs.Draft202012Validator(
            {**schema, "components": document["components"]}, validate_formats=True
        )
        assert [error.message for error in validator.iter_errors(value)] == [], value
        checked += 1
    assert checked > 100


def test_the_examples_follow_from_each_other(document: Json) -> None:
    paths = document["paths"]
    query = {p["name"]: p.get("example") for p in paths["/v1/offers"]["get"]["parameters"]}
    assert (query["origin"], query["destination"]) == ("SCL", "LIM")
    assert query["departure_date"] == "2026-12-06"
    hold = paths["/v1/holds"]["post"]
    wanted = next(iter(hold["requestBody"]["content"]["application/json"]["examples"].values()))
    held = hold["responses"]["201"]["content"]["application/json"]["example"]
    assert wanted["value"]["segments"][0]["flight_id"] == held["segments"][0]["flight_id"]
    booking = paths["/v1/bookings"]["post"]["requestBody"]["content"]["application/json"]["example"]
    assert booking["hold_id"] == held["id"]
    paid = {name: booking["payment"][name] for name in ("amount", "currency")}
    assert paid == held["price"]["total"]


def test_examples_move_with_the_days() -> None:
    moment = datetime(2026, 11, 22, 23, 59, tzinfo=UTC)
    asked: list[date] = []

    def examples_of_day(day: date) -> Any:
        asked.append(day)
        return {}

    program = tiny_app(examples_on=examples_of_day, clock=lambda: moment)
    first = program.openapi()
    assert program.openapi() is first
    moment = datetime(2026, 11, 23, 0, 0, tzinfo=UTC)
    assert program.openapi() is not first
    assert asked == [date(2026, 11, 22), date(2026, 11, 23)]


@pytest.mark.parametrize("day", [date(2026, 2, 14), date(2026, 8, 23), date(2027, 12, 31)])
def test_there_is_a_flight_for_examples_on_every_day(document: Json, day: date) -> None:
    text = json.dumps(with_examples(document, examples_on(day)))
    assert f'"departing_at": {{"local": "{day + (date(2026, 1, 15) - date(2026, 1, 1))}T' in text


def _examples(document: Json) -> Iterator[tuple[Json, Any]]:
    """Each schema with a value that is said to be one."""
    for operation in operations(document):
        for parameter in operation.get("parameters", []):
            if "example" in parameter:
                yield parameter["schema"], parameter["example"]
        answers = list(operation["responses"].values())
        for part in [operation.get("requestBody", {}), *answers]:
            for content in part.get("content", {}).values():
                if "example" in content:
                    yield content["schema"], content["example"]
                for example in content.get("examples", {}).values():
                    named = example.get("$ref", "").rpartition("/")[2]
                    meant = document["components"]["examples"][named] if named else example
                    yield content["schema"], meant["value"]
