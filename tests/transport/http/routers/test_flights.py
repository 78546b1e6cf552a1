"""`/v1/flights`: the contract's shapes and refusals, over a real database."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from app.clock import utc_now
from app.identity.errors import Unauthenticated
from app.identity.principal import Principal, Scope
from app.ids import FlightId, TenantId
from app.inventory.model import CabinCounts, CabinName
from app.schedule.service import ScheduleService
from app.storage.database import Database, WriteSession
from app.transport.http.application import create_app
from app.transport.http.routers.flights import SCHEDULE, router
from tests.builders.hold_inventory import RecordingHoldInventory

PATH = "/v1/flights/flt_LA801-20261210"
BODY: dict[str, Any] = {
    "carrier": "LA",
    "flight_number": "801",
    "origin": "SCL",
    "destination": "GRU",
    "departing_at": {"local": "2026-12-10T08:30:00", "time_zone": "America/Santiago"},
    "arriving_at": {"local": "2026-12-10T12:35:00", "time_zone": "America/Sao_Paulo"},
    "cabins": [
        {
            "cabin": "economy",
            "capacity": 150,
            "booking_classes": [
                {
                    "booking_class": "Y",
                    "limit": 150,
                    "fare": {"amount": "129900", "currency": "CLP"},
                },
                {
                    "booking_class": "M",
                    "limit": 3,
                    "fare": {"amount": "89900", "currency": "CLP"},
                },
            ],
        }
    ],
}


async def _authenticate(token: str) -> Principal:
    if token not in ("ops", "demo"):
        raise Unauthenticated
    scopes = frozenset(Scope)
    if token == "demo":
        scopes -= {Scope.INVENTORY_ADMIN}
    return Principal(TenantId("t1"), token, token, scopes)


@pytest.fixture
def holds() -> RecordingHoldInventory:
    return RecordingHoldInventory()


@pytest.fixture
async def client(
    empty_database: str, holds: RecordingHoldInventory
) -> AsyncIterator[httpx.AsyncClient]:
    database = Database(empty_database)

    async def open_epoch(session: WriteSession) -> None:
        await session.execute(text("UPDATE redis_epoch SET epoch = 1, mode = 'redis'"))

    await database.run_in_transaction(open_epoch)
    service = ScheduleService(database, holds, utc_now)
    app = create_app(
        authenticate=_authenticate,
        routers=[router],
        services=[SCHEDULE.given(service)],
        checks={},
        version="0",
    )
    transport = httpx.ASGITransport(app)
    headers = {"Authorization": "Bearer ops"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://holdfast", headers=headers
    ) as client:
        yield client
    await database.close()


def _with(**members: Any) -> dict[str, Any]:
    return {**BODY, **members}


def _change(booking_class: str, **members: Any) -> dict[str, Any]:
    one = {"booking_class": booking_class, **members}
    return {"cabins": [{"cabin": "economy", "booking_classes": [one]}]}


async def test_a_flight_is_put_and_read_in_the_contracts_shape(client: httpx.AsyncClient) -> None:
    answer = await client.put(PATH, json=BODY)
    assert answer.status_code == 201, answer.text
    expected = _with(
        id="flt_LA801-20261210",
        version=1,
        departing_at={**BODY["departing_at"], "utc": "2026-12-10T11:30:00Z"},
        arriving_at={**BODY["arriving_at"], "utc": "2026-12-10T15:35:00Z"},
    )
    assert answer.json() == expected
    again = await client.put(PATH, json=BODY)
    assert (again.status_code, again.json()) == (200, expected)
    read = await client.get(PATH)
    assert (read.status_code, read.json()) == (200, expected)


async def test_an_administrator_gets_exact_numbers_after_a_change(
    client: httpx.AsyncClient, holds: RecordingHoldInventory
) -> None:
    await client.put(PATH, json=BODY)
    holds.live[FlightId("flt_LA801-20261210")] = {
        CabinName.ECONOMY: CabinCounts((100, 3), (2, 0), (0, 3))
    }
    answer = await client.patch(f"{PATH}/inventory", json=_change("Y", limit=100))
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body.pop("as_of").endswith("Z")
    y = {"booking_class": "Y", "open": 9, "status": "open", "limit": 100, "sold": 2, "held": 0}
    m = {"booking_class": "M", "open": 0, "status": "held_out", "limit": 3, "sold": 0, "held": 3}
    assert body == {
        "flight_id": "flt_LA801-20261210",
        "cabins": [{"cabin": "economy", "booking_classes": [y, m]}],
    }
    assert (await client.get(PATH)).json()["cabins"][0]["booking_classes"][0]["limit"] == 100


async def test_a_fare_alone_can_change(client: httpx.AsyncClient) -> None:
    await client.put(PATH, json=BODY)
    fare = {"amount": "79900", "currency": "CLP"}
    assert (await client.patch(f"{PATH}/inventory", json=_change("M", fare=fare))).is_success
    flight = (await client.get(PATH)).json()
    assert flight["version"] == 2
    assert flight["cabins"][0]["booking_classes"][1]["fare"] == fare


async def test_a_flight_in_use_keeps_its_times(
    client: httpx.AsyncClient, holds: RecordingHoldInventory
) -> None:
    await client.put(PATH, json=BODY)
    holds.epoch = None
    later = {**BODY["departing_at"], "local": "2026-12-10T09:30:00"}
    answer = await client.put(PATH, json=_with(departing_at=later))
    assert (answer.status_code, answer.json()["code"]) == (409, "flight_in_use")


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({"origin": "GRU"}, "/destination"),
        ({"carrier": "LATAM"}, "/carrier"),
        ({"cabins": []}, "/cabins"),
        ({"id": "flt_LA801-20261210"}, "/id"),
        (
            {"departing_at": {"local": "2026-09-06T00:30:00", "time_zone": "America/Santiago"}},
            "/departing_at/local",
        ),
        (
            {"departing_at": {"local": "2026-12-10T08:30:00Z", "time_zone": "America/Santiago"}},
            "/departing_at/local",
        ),
        (
            {"arriving_at": {"local": "9999-12-31T23:59:59", "time_zone": "UTC"}},
            "/arriving_at/local",
        ),
        ({"arriving_at": BODY["departing_at"]}, "/arriving_at"),
        (
            {"arriving_at": {"local": "2026-12-10T12:35:00", "time_zone": "Brazil"}},
            "/arriving_at/time_zone",
        ),
        ({"cabins": [{**BODY["cabins"][0], "capacity": 10_000}]}, "/cabins/0/capacity"),
        ({"cabins": [{**BODY["cabins"][0], "capacity": "150"}]}, "/cabins/0/capacity"),
        ({"cabins": [BODY["cabins"][0], BODY["cabins"][0]]}, "/cabins/1/cabin"),
    ],
)
async def test_a_flight_that_is_none_is_refused_with_its_place(
    client: httpx.AsyncClient, members: dict[str, Any], pointer: str
) -> None:
    answer = await client.put(PATH, json=_with(**members))
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert (await client.get(PATH)).status_code == 404


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        (_change("Q", limit=1), "/cabins/0/booking_classes/0/booking_class", "unknown_class"),
        (_change("Y", limit=-1), "/cabins/0/booking_classes/0/limit", "out_of_range"),
        (
            _change("Y", fare={"amount": "1.00", "currency": "USD"}),
            "/cabins/0/booking_classes/0/fare/currency",
            "mixed_currency",
        ),
        (
            {"cabins": [{"cabin": "first", "booking_classes": [{"booking_class": "Y"}]}]},
            "/cabins/0/cabin",
            "unknown_class",
        ),
        ({"cabins": []}, "/cabins", "out_of_range"),
        (_change("Y", capacity=3), "/cabins/0/booking_classes/0/capacity", "unknown_member"),
    ],
)
async def test_a_wrong_change_is_refused_with_its_place(
    client: httpx.AsyncClient, change: dict[str, Any], pointer: str, code: str
) -> None:
    await client.put(PATH, json=BODY)
    answer = await client.patch(f"{PATH}/inventory", json=change)
    assert answer.status_code == 422
    (entry,) = answer.json()["errors"]
    assert (entry["pointer"], entry["code"]) == (pointer, code)


@pytest.mark.parametrize(
    "flight_id", ["flt_", "LA801", "flt_" + "x" * 61, "flt_a%0A", "flt_%C3%A1"]
)
async def test_a_malformed_id_is_nothing(client: httpx.AsyncClient, flight_id: str) -> None:
    path = f"/v1/flights/{flight_id}"
    answers = [
        await client.get(path),
        await client.put(path, json=BODY),
        await client.patch(f"{path}/inventory", json=_change("Y", limit=1)),
    ]
    assert [answer.status_code for answer in answers] == [404, 404, 404]


async def test_an_unknown_flight_is_nothing(client: httpx.AsyncClient) -> None:
    assert (await client.get(PATH)).status_code == 404
    change = await client.patch(f"{PATH}/inventory", json=_change("Y", limit=1))
    assert change.status_code == 404


async def test_only_administrators_pass(client: httpx.AsyncClient) -> None:
    partner = {"Authorization": "Bearer demo"}
    assert (await client.put(PATH, json=BODY, headers=partner)).status_code == 403
    assert (await client.get(PATH, headers=partner)).status_code == 403
    change = await client.patch(f"{PATH}/inventory", json={}, headers=partner)
    assert change.status_code == 403
