"""The API conforms to its OpenAPI document: more than a thousand valid and invalid requests.

No answer is a 5xx, and none has a status, a media type or a shape that the document does not tell of.
The cases are always the same ones: what differs between two runs is the program alone.
"""

import random
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import GenerationConfig, ProjectConfig, ProjectsConfig, SchemathesisConfig
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.builders.wire import (
    DEPARTURE_DATE,
    Json,
    book,
    booking_body,
    flight_body,
    hold,
    hold_body,
    limit_body,
    new_flight_id,
    new_key,
    put_flight,
)
from tests.fixtures.api import Api

CASES = 1000
EACH = 48  # of each kind, of each operation
FAILURES_SHOWN = 12
WITHOUT_TOKEN = ("/livez", "/readyz", "/metrics")
MARKET = {
    "origin": "SCL",
    "destination": "GRU",
    "departure_date": DEPARTURE_DATE.isoformat(),
    "limit": "5",
}
CHECKED = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@dataclass
class Real:
    """Existing resources, so that requests get beyond the first look-up."""

    flights: list[str] = field(default_factory=list)
    offers: list[str] = field(default_factory=list)
    holds: list[Json] = field(default_factory=list)
    bookings: list[Json] = field(default_factory=list)

    def ids(self, name: str) -> list[str]:
        return {
            "flight_id": self.flights,
            "offer_id": self.offers,
            "hold_id": [one["id"] for one in self.holds],
            "booking_id": [one["id"] for one in self.bookings],
        }[name]

    def body(self, operation: str, choose: random.Random) -> Json | None:
        """A valid body, which mostly has an effect."""
        match operation:
            case "POST /v1/holds" if choose.random() < 0.3:
                return {"offer_id": choose.choice(self.offers)}
            case "POST /v1/holds":
                flights = choose.sample(self.flights, choose.randint(1, 3))
                letters = [(flight, choose.choice("YM")) for flight in flights]
                return hold_body(
                    *letters, adults=choose.randint(1, 4), infants=choose.randint(0, 1)
                )
            case "POST /v1/bookings":
                return booking_body(choose.choice(self.holds))
            case "PUT /v1/flights/{flight_id}":
                return flight_body(hour=choose.choice((8, 8, 8, 9)))
            case "PATCH /v1/flights/{flight_id}/inventory":
                return limit_body(choose.choice("YM"), choose.randint(0, 60))
        return None

    def query(self, operation: str, choose: random.Random) -> dict[str, str]:
        match operation:
            case "GET /v1/offers" if choose.random() < 0.3:
                return {**MARKET, "return_date": DEPARTURE_DATE.isoformat()}
            case "GET /v1/offers":
                return MARKET
            case "GET /v1/calendar":
                month = f"{DEPARTURE_DATE:%Y-%m}"
                return {"origin": "SCL", "destination": "GRU", "month": month}
            case "GET /v1/bookings":
                locator = choose.choice(self.bookings)["record_locator"]
                return {"record_locator": locator, "family_name": "PEREZ"}
        return {}


@pytest.fixture
async def real(api: Api) -> Real:
    found = Real()
    for hour in range(6, 10):
        classes = (("Y", 400, "129900"), ("M", 300, "89900"))
        found.flights.append(await put_flight(api.ops, hour=hour, classes=classes))
    page = (await api.demo.get("/v1/offers", params=MARKET)).json()
    found.offers = [offer["id"] for offer in page["data"]]
    choices = [(flight, "Y") for flight in found.flights[:2]]
    found.holds = [await hold(api.demo, *choices, adults=2, infants=1) for _ in range(40)]
    found.bookings = [await book(api.demo, one) for one in found.holds[:10]]
    for one in found.holds[10:13]:
        await api.demo.delete(f"/v1/holds/{one['id']}")
    return found


def test_the_api_conforms_to_its_openapi_document(api: Api, real: Real) -> None:
    seen: dict[str, Counter[int]] = {}
    failures: list[str] = []
    for found in _document(api).get_all_operations():
        operation = found.ok()
        if operation.path.startswith(("/v1/", *WITHOUT_TOKEN)):
            seen[operation.label] = Counter()
            for mode in GenerationMode:
                _try(api, operation, mode, real, seen[operation.label], failures)

    assert not failures, "\n\n".join(failures[:FAILURES_SHOWN])
    assert {f"GET {path}" for path in WITHOUT_TOKEN} < set(seen)
    for label, statuses in seen.items():
        assert any(200 <= status < 300 for status in statuses), f"{label} never had an effect"
    assert sum(statuses.total() for statuses in seen.values()) >= CASES, seen


def _document(api: Api) -> Any:
    generation = GenerationConfig(with_security_parameters=False, deterministic=True)
    projects = ProjectsConfig(default=ProjectConfig(generation=generation))
    document = httpx.get(f"{api.url}/openapi.json", trust_env=False).json()
    return schemathesis.openapi.from_dict(document, config=SchemathesisConfig(projects=projects))


def _try(
    api: Api,
    operation: Any,
    mode: GenerationMode,
    real: Real,
    statuses: Counter[int],
    failures: list[str],
) -> None:
    @settings(
        max_examples=EACH,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        case=operation.as_strategy(generation_mode=mode),
        seed=st.integers(0, 2**32),
        caller=st.sampled_from(_callers(operation.path)),
    )
    def attempt(case: Any, seed: int, caller: str) -> None:
        headers = {"Authorization": f"Bearer {api.tokens[caller]}"}
        if mode is GenerationMode.POSITIVE:
            _make_real(case, operation.label, real, random.Random(seed))
        try:
            answer = case.call(base_url=api.url, headers=headers, session=session)
            statuses[answer.status_code] += 1
            case.validate_response(answer, checks=CHECKED)
        except FailureGroup as group:
            told = "\n".join(str(one) for one in group.exceptions)
            failures.append(f"{operation.label} ({mode.value}, {caller}): {told}")

    with requests.Session() as session:
        session.trust_env = False
        with suppress(Unsatisfiable):  # nothing can be wrong with what takes nothing
            attempt()


def _callers(path: str) -> tuple[str, ...]:
    """Mostly an authorized caller that owns the resource."""
    return ("ops", "ops", "demo") if path.startswith("/v1/flights") else ("demo", "demo", "ops")


def _make_real(case: Any, operation: str, real: Real, choose: random.Random) -> None:
    """Mostly: the rest stays as it was generated."""
    for name in case.path_parameters or {}:
        if choose.random() < 0.8:
            case.path_parameters[name] = choose.choice(real.ids(name))
    if operation.startswith("PUT") and choose.random() < 0.5:
        case.path_parameters["flight_id"] = new_flight_id()
    if choose.random() < 0.6:
        body = real.body(operation, choose)
        if body is not None:
            case.body = body
            case.headers.update(new_key())
        case.query.update(real.query(operation, choose))
