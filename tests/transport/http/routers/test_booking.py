"""`/v1/bookings`: the contract's shapes, headers and refusals, over real servers."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.booking.service import BookingService
from app.hold.model import Hold
from app.hold.service import HoldService
from app.identity.errors import Unauthenticated
from app.identity.principal import Principal, Scope
from app.ids import TenantId
from app.inventory.itinerary import PassengerCounts, Segment, price
from app.transport.http.application import create_app
from app.transport.http.routers.booking import BOOKINGS, Bookings, router
from app.wiring import Core
from tests.builders.bookings import booking_service
from tests.builders.flights import flight
from tests.builders.holds import DEMO, key, no_offers, request
from tests.fixtures.core import sell_from

FLIGHT = flight(flight_id="flt_south")
NO_SUCH_HOLD = "hold_" + "a" * 26
Json = dict[str, Any]


class _NeverCalled:
    """For requests that are refused before any service is called."""

    def __getattr__(self, name: str) -> Any:
        def call(*_arguments: object) -> None:
            raise AssertionError(f"{name} is called")

        return call


async def _authenticate(token: str) -> Principal:
    scopes = {"demo": frozenset(Scope), "rival": frozenset(Scope)}
    scopes["reader"] = frozenset({Scope.OFFERS_READ})
    if token not in scopes:
        raise Unauthenticated
    return Principal(TenantId(token), token, token, scopes[token])


@pytest.fixture
async def holds(core: Core) -> HoldService:
    await sell_from(core, FLIGHT)
    return core.holds(no_offers)


@pytest.fixture
def bookings(core: Core) -> BookingService:
    return booking_service(core)


@pytest.fixture
def app(bookings: BookingService) -> FastAPI:
    return app_over(bookings)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(app) as client:
        yield client


@pytest.fixture
async def refusing() -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application without a service: its requests are refused before any call."""
    async with client_of(app_over(_NeverCalled())) as client:
        yield client


def app_over(bookings: Bookings) -> FastAPI:
    return create_app(
        authenticate=_authenticate,
        routers=[router],
        services=[BOOKINGS.given(bookings)],
        checks={},
        version="0",
    )


def client_of(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://holdfast",
        headers={"Authorization": "Bearer demo"},
    )


async def held(holds: HoldService, **counts: int) -> Json:
    """The body that books a new hold."""
    asked = request(("flt_south", "Y"), **counts)  # type: ignore[arg-type] # only counts
    return body_for((await holds.place(DEMO, asked, key())).value)


def body_for(hold: Hold) -> Json:
    born = {"ADT": "1990-04-02", "CHD": "2020-04-02", "INF": "2026-04-02"}
    return {
        "hold_id": hold.hold_id,
        "passengers": [
            {"type": kind, "given_name": "Ana", "family_name": "Pérez", "born_on": born[kind]}
            for kind, count in hold.passengers.to_json().items()
            for _ in range(count)
        ],
        "contact": {"email": "Ana@EXAMPLE.com", "phone": "+56912345678"},
        "payment": {
            "reference": "pay-1",
            "amount": hold.price.total.amount,
            "currency": hold.price.total.currency,
        },
        "client_reference": "order-1",
    }


def unheld() -> Json:
    """A valid body for a hold that does not exist."""
    segment = Segment.of(FLIGHT, FLIGHT.cabins[0], 1)
    total = price([segment], PassengerCounts(1)).total
    return {
        "hold_id": NO_SUCH_HOLD,
        "passengers": [
            {"type": "ADT", "given_name": "Ana", "family_name": "Pérez", "born_on": "1990-04-02"}
        ],
        "contact": {"email": "ana@example.com", "phone": "+56912345678"},
        "payment": {"reference": "pay-1", "amount": total.amount, "currency": total.currency},
    }


async def post(client: httpx.AsyncClient, body: Json, name: str = "k") -> httpx.Response:
    return await client.post("/v1/bookings", json=body, headers={"Idempotency-Key": name})


async def test_a_booking_in_the_contracts_shape(
    client: httpx.AsyncClient, holds: HoldService
) -> None:
    body = await held(holds, adults=1, children=1, infants=1)
    answer = await post(client, body)

    assert answer.status_code == 201, answer.text
    booked = answer.json()
    assert list(booked) == [
        "id", "record_locator", "status", "hold_id", "segments", "passengers", "contact", "payment",
        "price", "client_reference", "created_at", "cancelled_at", "version",
    ]  # fmt: skip
    assert re.fullmatch("[A-HJKMNP-Z2-9]{6}", booked["record_locator"])
    assert booked["id"].startswith("bkg_")
    assert booked["passengers"] == body["passengers"]
    assert booked["contact"] == {"email": "Ana@example.com", "phone": "+56912345678"}
    assert booked["payment"] == body["payment"]
    assert booked["price"]["total"] == {"amount": "259800", "currency": "CLP"}
    assert [line["type"] for line in booked["price"]["passengers"]] == ["ADT", "CHD", "INF"]
    assert (booked["status"], booked["version"], booked["cancelled_at"]) == ("confirmed", 1, None)
    assert (booked["hold_id"], booked["client_reference"]) == (body["hold_id"], "order-1")
    assert booked["segments"][0]["departing_at"]["local"] == "2027-03-10T08:30:00"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z", booked["created_at"])
    assert answer.headers["Location"] == f"/v1/bookings/{booked['id']}"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Idempotent-Replayed" not in answer.headers

    read = await client.get(answer.headers["Location"])
    assert (read.status_code, read.json()) == (200, booked)
    assert read.headers["Cache-Control"] == "no-store"


async def test_a_replay_is_the_first_answer_byte_for_byte(
    client: httpx.AsyncClient, holds: HoldService
) -> None:
    body = await held(holds)
    first = await post(client, body)
    await client.post(f"/v1/bookings/{first.json()['id']}/cancel")
    again = await post(client, dict(reversed(body.items())))

    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["Location"] == first.headers["Location"]
    assert again.headers["Idempotent-Replayed"] == "true"

    other = await post(client, {**body, "client_reference": "order-2"})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


async def test_found_by_locator_and_name_or_not_at_all(
    client: httpx.AsyncClient, holds: HoldService
) -> None:
    booked = (await post(client, await held(holds))).json()
    locator = booked["record_locator"]

    found = await client.get(
        "/v1/bookings", params={"record_locator": locator, "family_name": "PEREZ"}
    )
    assert (found.status_code, found.json()) == (200, booked)

    wrong = [
        await client.get("/v1/bookings", params={"record_locator": which, "family_name": name})
        for which, name in ((locator, "Gomez"), ("ZZZZZZ", "Perez"), ("?", "Perez"))
    ]
    theirs = await client.get(
        "/v1/bookings",
        params={"record_locator": locator, "family_name": "Perez"},
        headers={"Authorization": "Bearer rival"},
    )
    for answer in (*wrong, theirs):
        assert answer.status_code == 404
    bodies = [{**answer.json(), "request_id": ""} for answer in (*wrong, theirs)]
    assert all(one == bodies[0] for one in bodies)


@pytest.mark.parametrize("given", [{}, {"record_locator": "ABCDEF"}, {"family_name": "Perez"}])
async def test_locator_and_name_are_both_needed(refusing: httpx.AsyncClient, given: Json) -> None:
    answer = await refusing.get("/v1/bookings", params=given)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_error")
    assert {error["parameter"] for error in answer.json()["errors"]} == {
        "record_locator",
        "family_name",
    } - set(given)


async def test_a_second_cancellation_has_the_same_answer(
    client: httpx.AsyncClient, holds: HoldService
) -> None:
    booked = (await post(client, await held(holds))).json()
    path = f"/v1/bookings/{booked['id']}/cancel"

    first = await client.post(path, headers={"Idempotency-Key": "c"})
    again = await client.post(path, headers={"Idempotency-Key": "c"})
    plain = await client.post(path, json={})

    assert first.status_code == 200, first.text
    assert first.content == again.content == plain.content
    assert (first.json()["status"], first.json()["version"]) == ("cancelled", 2)
    assert first.json()["cancelled_at"] is not None
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    refused = await client.post(path, json={"refund": True})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/refund")


@pytest.mark.parametrize("booking_id", ["bkg_", "x", "bkg_" + "A" * 26, "hold_" + "a" * 26])
async def test_what_cannot_be_an_id_is_not_found(
    refusing: httpx.AsyncClient, booking_id: str
) -> None:
    read = await refusing.get(f"/v1/bookings/{booking_id}")
    cancelled = await refusing.post(f"/v1/bookings/{booking_id}/cancel")
    for answer in (read, cancelled):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_another_tenants_booking_is_not_found(
    client: httpx.AsyncClient, holds: HoldService
) -> None:
    booked = (await post(client, await held(holds))).json()
    rival = {"Authorization": "Bearer rival"}
    path = f"/v1/bookings/{booked['id']}"
    assert (await client.get(path, headers=rival)).status_code == 404
    assert (await client.post(f"{path}/cancel", headers=rival)).status_code == 404
    assert (await client.get(path)).json()["status"] == "confirmed"
    unknown = "/v1/bookings/bkg_" + "a" * 26
    assert (await client.get(unknown)).status_code == 404
    assert (await client.post(f"{unknown}/cancel")).status_code == 404


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"passengers": []}, "/passengers", "out_of_range"),
        ({"contact": {"email": "ana", "phone": "+56912345678"}}, "/contact/email", "invalid"),
        ({"contact": {"email": "a@example.com", "phone": "5691"}}, "/contact/phone", "invalid"),
        ({"contact": {"email": "a@example.com"}}, "/contact/phone", "missing"),
        ({"payment": {"reference": "p", "amount": "1.5", "currency": "CLP"}}, "/payment", "invalid"),
        ({"payment": {"reference": "", "amount": "1", "currency": "CLP"}}, "/payment/reference",
         "out_of_range"),
        ({"client_reference": ""}, "/client_reference", "out_of_range"),
        ({"hold_id": 7}, "/hold_id", "wrong_type"),
        ({"seat": "1A"}, "/seat", "unknown_member"),
    ],
)  # fmt: skip
async def test_a_body_that_is_not_as_described(
    refusing: httpx.AsyncClient, change: Json, pointer: str, code: str
) -> None:
    answer = await post(refusing, {**unheld(), **change})
    assert answer.status_code == 422, answer.text
    (error,) = answer.json()["errors"]
    assert (error["pointer"], error["code"]) == (pointer, code)


@pytest.mark.parametrize(
    ("change", "member"),
    [
        ({"type": "PET"}, "type"),
        ({"given_name": ""}, "given_name"),
        ({"given_name": " "}, "given_name"),
        ({"family_name": "P" * 65}, "family_name"),
        ({"family_name": "P\u0007"}, "family_name"),
        ({"born_on": "1990-4-2"}, "born_on"),
        ({"born_on": "1990-02-30"}, "born_on"),
        ({"born_on": 19900402}, "born_on"),
        ({"title": "Ms"}, "title"),
    ],
)
async def test_a_passenger_that_is_not_as_described(
    refusing: httpx.AsyncClient, change: Json, member: str
) -> None:
    body = unheld()
    body["passengers"][0] |= change
    answer = await post(refusing, body)
    assert answer.status_code == 422, answer.text
    assert [error["pointer"] for error in answer.json()["errors"]] == [f"/passengers/0/{member}"]
    for sent in change.values():
        if isinstance(sent, str) and len(sent) > 3:
            assert sent not in answer.text


async def test_a_mismatch_with_the_hold_is_refused_with_its_place(
    client: httpx.AsyncClient, holds: HoldService
) -> None:
    body = await held(holds, adults=2)
    body["passengers"][1]["born_on"] = "2020-04-02"
    body["payment"]["amount"] = "1"
    answer = await post(client, body)
    assert answer.status_code == 422
    assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [
        ("/passengers/1/born_on", "age_mismatch"),
        ("/payment/amount", "amount_mismatch"),
    ]


async def test_refusals_of_the_state(client: httpx.AsyncClient, holds: HoldService) -> None:
    body = await held(holds)
    unknown = await post(client, unheld())
    booked = (await post(client, body)).json()
    twice = await post(client, {**body, "client_reference": "order-2"}, "k2")
    duplicate = await post(client, await held(holds), "k3")

    assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")
    assert (twice.status_code, twice.json()["code"]) == (409, "hold_not_active")
    assert (duplicate.status_code, duplicate.json()["code"]) == (409, "duplicate_booking")
    assert duplicate.json()["booking_id"] == booked["id"]


async def test_scope_and_key_are_asked_for_first(refusing: httpx.AsyncClient) -> None:
    reader = {"Authorization": "Bearer reader"}
    assert (await refusing.post("/v1/bookings", headers=reader)).status_code == 403
    assert (await refusing.get("/v1/bookings", headers=reader)).status_code == 403
    without_key = await refusing.post("/v1/bookings", json={"nonsense": 1})
    assert (without_key.status_code, without_key.json()["code"]) == (400, "idempotency_key_missing")


async def test_a_booking_that_was_begun_is_finished_without_its_client(
    bookings: BookingService,
    client: httpx.AsyncClient,
    holds: HoldService,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    body = await held(holds)
    entered = asyncio.Event()
    confirm = bookings.confirm

    async def seen(*asked: Any) -> Any:
        entered.set()
        return await confirm(*asked)

    monkeypatch.setattr(bookings, "confirm", seen)  # to know when it has begun
    asking = asyncio.create_task(post(client, body))
    await entered.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking

    async with asyncio.timeout(5):
        while (await holds.get(DEMO, body["hold_id"])).booking_id is None:  # noqa: ASYNC110 - the hold's own state
            await asyncio.sleep(0.01)
    again = await post(client, body)
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (201, "true")


def test_the_document_has_examples_headers_and_refusals() -> None:
    app = app_over(_NeverCalled())
    paths = app.openapi()["paths"]
    created = paths["/v1/bookings"]["post"]["responses"]
    assert {"201", "400", "401", "403", "404", "409", "410", "413", "415", "422", "503"} == set(
        created
    )
    assert set(created["201"]["headers"]) == {"Location", "Idempotent-Replayed"}
    schema = app.openapi()["components"]["schemas"]["BookingIn"]
    assert schema["examples"][0]["hold_id"].startswith("hold_")
    assert set(paths["/v1/bookings/{booking_id}/cancel"]["post"]["responses"]) >= {"200", "404"}
