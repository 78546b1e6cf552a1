"""The OpenAPI document: FastAPI's reading of the routes, completed.

Added are how to get a token, the schema of refusals, descriptions of the tags, and examples for today.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app.identity.principal import Scope
from app.transport.http.openapi.examples import Example, Examples
from app.transport.http.problems.responses import problem_examples
from app.transport.http.wire.schemas import Problem

TITLE = "Holdfast"
SUMMARY = "Seats on flights: search, hold, book, publish."
DESCRIPTION = """\
Search for an itinerary, **hold** all its segments for ten minutes, and convert the hold into a
**booking**. A held seat is yours until the hold expires, and no seat is sold twice.

**Authentication.** Every route under `/v1` requires `Authorization: Bearer <token>`, with the scope that
is named at the route. The token says for which tenant you act; resources of other tenants answer 404.

**Retries.** Holds and bookings require an `Idempotency-Key`. The same key with the same body returns the
first answer again, for at least a day, and changes nothing a second time.

**Refusals** are `application/problem+json` with a stable `code`, and say whether a retry may succeed.
[All of them, and what to do](/docs/problems).

Money is a decimal string with exactly the decimals of its currency. Instants are in UTC. Times of a flight
are also given in local time of the station, and dates are local dates of the origin.
"""
TAGS: Mapping[str, str] = {
    "search": "What can be sold: offers with open seats, routes, availability by class "
    "[AirShopping, OfferPrice].",
    "holds": "Seats kept for a customer for ten minutes, all segments or none.",
    "bookings": "Booking a hold, reading and cancelling bookings [OrderCreate, OrderRetrieve, OrderCancel].",
    "events": "What happened, in order, for clients that poll.",
    "flights": "Dated flights and their limits; for the airline, with `inventory:admin`.",
    "health": "For probes and scrapers, without a token.",
}
_REF = "#/components/schemas/{model}"
_SCOPES: Mapping[Scope, str] = {
    Scope.OFFERS_READ: "Search, prices and availability",
    Scope.HOLDS_WRITE: "Hold and release seats",
    Scope.BOOKINGS_WRITE: "Book, read and cancel bookings",
    Scope.EVENTS_READ: "Read the tenant's events",
    Scope.INVENTORY_ADMIN: "Put flights and change their limits",
}


def document_of(app: FastAPI, token_url: str | None) -> dict[str, Any]:
    """Without examples of requests and answers. Takes half a second."""
    document = get_openapi(
        title=app.title,
        summary=SUMMARY,
        description=DESCRIPTION,
        version=app.version,
        routes=app.routes,
        tags=[{"name": name, "description": text} for name, text in TAGS.items()],
        servers=[{"url": "/", "description": "The host of this page."}],
        contact={"name": "The Holdfast team"},
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    problem = Problem.model_json_schema(mode="serialization", ref_template=_REF)
    schemas.update(problem.pop("$defs", {}))
    schemas["Problem"] = problem
    components["securitySchemes"] = _security_schemes(token_url)
    for operation in operations(document):
        if "security" not in operation:
            operation["security"] = []  # explicitly without a token
        elif token_url is None:
            operation["security"] = [s for s in operation["security"] if "oauth2" not in s]
    text = json.dumps(document["paths"])
    components["examples"] = {
        code: example
        for code, example in problem_examples().items()
        if f'"#/components/examples/{code}"' in text
    }
    return document


def with_examples(document: dict[str, Any], examples: Examples) -> dict[str, Any]:
    """A copy of the document, with the examples."""
    copy: dict[str, Any] = json.loads(json.dumps(document))
    for operation in operations(copy):
        if operation["operationId"] in examples:
            _illustrate(operation, examples[operation["operationId"]])
    return copy


def operations(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [operation for path in document["paths"].values() for operation in path.values()]


def _illustrate(operation: dict[str, Any], example: Example) -> None:
    for parameter in operation.get("parameters", []):
        if parameter["name"] in example.parameters:
            parameter["example"] = example.parameters[parameter["name"]]
    if example.bodies:
        body = operation["requestBody"]["content"]["application/json"]
        if len(example.bodies) == 1:
            (body["example"],) = example.bodies.values()
        else:
            body["examples"] = {
                _key(title): {"summary": title, "value": value}
                for title, value in example.bodies.items()
            }
    for status, answer in example.answers.items():
        operation["responses"][status]["content"]["application/json"]["example"] = answer


def _key(title: str) -> str:
    return re.sub("[^a-z]+", "_", title.lower())


def _security_schemes(token_url: str | None) -> dict[str, Any]:
    schemes: dict[str, Any] = {}
    if token_url is not None:
        scopes = {scope.value: text for scope, text in _SCOPES.items()}
        flow = {"tokenUrl": token_url, "scopes": scopes}
        schemes["oauth2"] = {
            "type": "oauth2",
            "description": "The development issuer. Client `demo` (secret `demo`) sells; client `ops` "
            "(secret `ops`) also manages flights. Without a chosen scope, all scopes of the client.",
            "flows": {"clientCredentials": flow},
        }
    schemes["bearer"] = {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "An access token of your issuer, without the prefix Bearer.",
    }
    return schemes
