"""`GET /v1/flights/{id}/ledger` as an administrator meets it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from app.identity.errors import Unauthenticated
from app.identity.principal import Principal, Scope
from app.ids import TenantId
from app.ledger.service import LedgerService
from app.transport.http.application import create_app
from app.transport.http.pipeline.dependencies import CURSORS
from app.transport.http.routers.ledger import LEDGER, router
from app.transport.http.wire.cursors import Cursors
from app.wiring import Core
from tests.builders.bookings import booking_service, wanted
from tests.builders.flights import flight
from tests.builders.holds import DEMO, key, no_offers, request
from tests.fixtures.core import sell_from

PATH = "/v1/flights/flt_south/ledger"
CALLERS = {
    "ops": frozenset(Scope),
    "other": frozenset({Scope.INVENTORY_ADMIN}),
    "demo": frozenset(Scope) - {Scope.INVENTORY_ADMIN},
}


@asynccontextmanager
async def client_of(core: Core, token: str) -> AsyncIterator[httpx.AsyncClient]:
    async def authenticate(name: str) -> Principal:
        if name not in CALLERS:
            raise Unauthenticated
        return Principal(TenantId(name), name, name, CALLERS[name])

    app = create_app(
        authenticate=authenticate,
        routers=[router],
        services=[
            LEDGER.given(LedgerService(core.database)),
            CURSORS.given(Cursors(["s" * 32])),
        ],
        checks={},
        version="1",
    )
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://holdfast",
        headers={"Authorization": f"Bearer {token}"},
    ) as client:
        yield client


@pytest.fixture
async def ops(core: Core) -> AsyncIterator[httpx.AsyncClient]:
    """For an administrator of a flight with one booking of two."""
    await sell_from(core, flight(flight_id="flt_south"), flight(flight_id="flt_north"))
    hold = (
        await core.holds(no_offers).place(DEMO, request(("flt_south", "M"), adults=2), key())
    ).value
    await booking_service(core).confirm(DEMO, wanted(hold, client_reference="order-1"), key())
    async with client_of(core, "ops") as client:
        yield client


async def test_the_shape(ops: httpx.AsyncClient) -> None:
    answer = await ops.get(PATH)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    held, confirmed = body["data"]
    assert body["meta"] == {"after": None, "has_more": False}
    assert held.pop("at") <= confirmed.pop("at")
    hold_id, booking_id = held.pop("hold_id"), confirmed.pop("booking_id")
    assert hold_id.startswith("hold_")
    assert booking_id.startswith("bkg_")
    assert held == {
        "type": "held",
        "cabin": "economy",
        "booking_class": "M",
        "seats": 2,
        "limit": None,
        "tenant_id": "demo",
        "booking_id": None,
        "epoch": 1,
        "sold": 0,
    }
    del held["booking_id"]
    assert confirmed == {**held, "type": "confirmed", "hold_id": hold_id, "sold": 2}
    assert body["totals"] == [
        {
            "cabin": "economy",
            "limit": 10,
            "free": 8,
            "held": 0,
            "sold": 2,
            "confirmed": 2,
            "cancelled": 0,
            "booking_classes": [
                {"booking_class": "Y", "limit": 10, "held": 0, "sold": 0},
                {"booking_class": "M", "limit": 6, "held": 0, "sold": 2},
            ],
        }
    ]
    for personal in ("Ana", "example.com", "order-1", "record_locator"):
        assert personal not in answer.text


async def test_a_cursor_is_of_its_flight_and_its_caller(core: Core, ops: httpx.AsyncClient) -> None:
    first = (await ops.get(PATH, params={"limit": 1})).json()
    assert first["meta"]["has_more"] is True
    after = {"after": first["meta"]["after"]}
    second = (await ops.get(PATH, params=after)).json()
    assert [one["type"] for one in first["data"] + second["data"]] == ["held", "confirmed"]
    assert second["meta"] == {"after": None, "has_more": False}
    assert second["totals"] == first["totals"]
    north = PATH.replace("south", "north")
    assert refused(await ops.get(north, params=after)) == (422, "validation_error")
    async with client_of(core, "other") as other:
        assert refused(await other.get(PATH, params=after)) == (422, "validation_error")
    for wrong in ({"limit": "0"}, {"limit": "201"}, {"after": "x"}):
        assert refused(await ops.get(PATH, params=wrong)) == (422, "validation_error")


async def test_who_may_not_and_what_is_not_there(core: Core, ops: httpx.AsyncClient) -> None:
    for path in ("flt_none", "x", "flt_a%00", "flt_é"):
        assert refused(await ops.get(f"/v1/flights/{path}/ledger")) == (404, "not_found")
    async with client_of(core, "demo") as demo, client_of(core, "nobody") as nobody:
        assert refused(await demo.get(PATH)) == (403, "scope_missing")
        assert refused(await nobody.get(PATH)) == (401, "unauthenticated")
    assert refused(await ops.post(PATH)) == (405, "method_not_allowed")


def refused(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]
