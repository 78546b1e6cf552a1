"""The OpenAPI document describes what guarded routes check; the lifespan encloses all requests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.transport.http.tiny import Tiny, client_of, tiny_app


@pytest.fixture
async def document() -> dict[str, Any]:
    async with client_of(tiny_app(token_url="/dev/oidc/token")) as client:
        answer = await client.get("/openapi.json")
    result: dict[str, Any] = answer.json()
    return result


def test_security_comes_from_the_same_declaration(document: dict[str, Any]) -> None:
    for path, operations in document["paths"].items():
        for operation in operations.values():
            expected = [{"oauth2": ["holds:write"]}, {"bearer": []}] if "/v1/" in path else []
            assert operation.get("security") == expected
    flow = document["components"]["securitySchemes"]["oauth2"]["flows"]["clientCredentials"]
    assert flow["tokenUrl"] == "/dev/oidc/token"
    assert "holds:write" in flow["scopes"]


def test_refusals_are_documented_as_problems(document: dict[str, Any]) -> None:
    create = document["paths"]["/v1/holds"]["post"]["responses"]
    read = document["paths"]["/v1/holds/{hold_id}"]["get"]["responses"]
    assert create.keys() == {"201", "400", "401", "403", "409", "413", "415", "422", "503"}
    assert read.keys() == {"200", "401", "403", "404", "422", "503"}
    for status, response in [*create.items(), *read.items()]:
        if status >= "400":
            schema = response["content"]["application/problem+json"]["schema"]
            assert schema == {"$ref": "#/components/schemas/Problem"}
            assert response["content"].keys() == {"application/problem+json"}
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_every_reference_resolves(document: dict[str, Any]) -> None:
    def references(node: Any) -> Any:
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                yield node["$ref"]
            for inner in node.values():
                yield from references(inner)
        elif isinstance(node, list):
            for inner in node:
                yield from references(inner)

    found = set(references(document))
    assert "#/components/schemas/Problem" in found
    known = {
        f"#/components/{kind}/{name}"
        for kind, named in document["components"].items()
        for name in named
    }
    assert found <= known


def test_parameters_are_described_as_they_are_validated(document: dict[str, Any]) -> None:
    listing = {p["name"]: p for p in document["paths"]["/v1/holds"]["get"]["parameters"]}
    limit = listing["limit"]["schema"]
    assert (limit["type"], limit["minimum"], limit["maximum"], limit["default"]) == (
        "integer",
        1,
        200,
        50,
    )
    (key,) = document["paths"]["/v1/holds"]["post"]["parameters"]
    (optional,) = [
        p
        for p in document["paths"]["/v1/holds/{hold_id}/extend"]["post"]["parameters"]
        if p["in"] == "header"
    ]
    assert (key["name"], key["required"], key["schema"]["maxLength"]) == (
        "Idempotency-Key",
        True,
        255,
    )
    assert optional["required"] is False


async def test_without_a_token_url_there_is_only_the_bearer() -> None:
    async with client_of(tiny_app()) as client:
        document = (await client.get("/openapi.json")).json()
    assert document["components"]["securitySchemes"].keys() == {"bearer"}
    assert document["paths"]["/v1/holds"]["post"]["security"] == [{"bearer": []}]
    assert (document["info"]["title"], document["info"]["version"]) == ("Holdfast", "1.2.3")


async def test_the_lifespan_ends_after_detached_tasks() -> None:
    seen: list[str] = []

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        seen.append("opened")
        yield
        seen.append("closed")

    app = tiny_app(Tiny(), lifespan=lifespan)
    async with app.router.lifespan_context(app):
        assert seen == ["opened"]
    assert seen == ["opened", "closed"]
