"""`GET /v1/events`, over a real database."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from app.identity.errors import Unauthenticated
from app.identity.principal import Principal, Scope
from app.ids import TenantId
from app.outbox.model import EventType
from app.outbox.service import Events
from app.storage.database import Database
from app.transport.http.application import create_app
from app.transport.http.pipeline.dependencies import CURSORS
from app.transport.http.routers.events import EVENTS, router
from app.transport.http.wire.cursors import Cursors
from tests.builders.facts import (
    a_fact,
    a_shared_fact,
    an_event,
    append,
    forget_everything,
    number,
)

CALLERS = {
    "demo": Principal(TenantId("tenant-1"), "demo", "demo", frozenset({Scope.EVENTS_READ})),
    "rival": Principal(TenantId("tenant-2"), "rival", "rival", frozenset({Scope.EVENTS_READ})),
    "ops": Principal(TenantId("tenant-1"), "ops", "ops", frozenset(Scope)),
    "seller": Principal(TenantId("tenant-1"), "seller", "s", frozenset({Scope.HOLDS_WRITE})),
}
CANCELLED = EventType.BOOKING_CANCELLED


async def _authenticate(token: str) -> Principal:
    if token not in CALLERS:
        raise Unauthenticated
    return CALLERS[token]


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[Database]:
    database = Database(postgres_url)
    await forget_everything(database)
    yield database
    await forget_everything(database)
    await database.close()


@pytest.fixture
async def client(database: Database) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(
        authenticate=_authenticate,
        routers=[router],
        services=[EVENTS.given(Events(database)), CURSORS.given(Cursors(["k" * 32]))],
        checks={},
        version="0",
    )
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://holdfast") as client:
        yield client


async def test_an_event_is_the_envelope_that_leaves_on_the_bus(
    client: httpx.AsyncClient, database: Database
) -> None:
    fact = a_fact(data={"seats": 2}, seconds=0.123456)
    await publish(database, fact)
    answer = await get(client)
    assert answer["data"] == [an_event(fact).to_json()]
    assert answer["meta"]["has_more"] is False


async def test_a_poller_goes_on_behind_the_last_page(
    client: httpx.AsyncClient, database: Database
) -> None:
    await publish(database, *(a_fact("bkg_a", sequence) for sequence in range(1, 6)))
    first = await get(client, limit=3)
    assert (sequences(first), first["meta"]["has_more"]) == ([1, 2, 3], True)
    last = await get(client, limit=3, after=first["meta"]["after"])
    assert (sequences(last), last["meta"]["has_more"]) == ([4, 5], False)
    nothing_yet = await get(client, limit=3, after=last["meta"]["after"])
    assert nothing_yet == {
        "data": [],
        "meta": {"after": last["meta"]["after"], "has_more": False},
    }
    await publish(database, a_fact("bkg_a", 6))
    assert sequences(await get(client, after=nothing_yet["meta"]["after"])) == [6]


async def test_a_full_last_page_says_that_nothing_more_is_there(
    client: httpx.AsyncClient, database: Database
) -> None:
    await publish(database, a_fact("bkg_a", 1), a_fact("bkg_a", 2))
    assert (await get(client, limit=2))["meta"]["has_more"] is False


async def test_before_the_first_event_there_is_no_cursor(client: httpx.AsyncClient) -> None:
    assert await get(client) == {"data": [], "meta": {"after": None, "has_more": False}}


async def test_a_fact_without_a_position_is_not_listed(
    client: httpx.AsyncClient, database: Database
) -> None:
    await append(database, a_fact())
    assert (await get(client))["data"] == []


async def test_tenants_see_their_own_and_inventory_admin_the_shared_too(
    client: httpx.AsyncClient, database: Database
) -> None:
    await publish(
        database,
        a_fact("bkg_ours", seconds=1),
        a_fact("bkg_theirs", seconds=2, tenant_id=TenantId("tenant-2")),
        a_shared_fact("flt_all", seconds=3),
    )
    assert about(await get(client)) == ["bkg_ours"]
    assert about(await get(client, "rival")) == ["bkg_theirs"]
    assert about(await get(client, "ops")) == ["bkg_ours", "flt_all"]
    [shared] = (await get(client, "ops", type="flight.inventory_changed"))["data"]
    assert shared["tenant_id"] is None
    assert about(await get(client, type="flight.inventory_changed")) == []


async def test_types_may_be_repeated_in_any_order(
    client: httpx.AsyncClient, database: Database
) -> None:
    await publish(
        database,
        a_fact("bkg_a", 1),
        a_fact("bkg_a", 2, type=CANCELLED),
        a_shared_fact(seconds=1),
    )
    assert sequences(await get(client, type="booking.cancelled")) == [2]
    both = ["booking.cancelled", "booking.confirmed"]
    first = await get(client, "ops", type=both, limit=1)
    second = await get(client, "ops", type=both[::-1], limit=1, after=first["meta"]["after"])
    assert sequences(first) + sequences(second) == [1, 2]


async def test_a_cursor_serves_its_tenant_and_its_types_alone(
    client: httpx.AsyncClient, database: Database
) -> None:
    await publish(database, a_fact())
    after = (await get(client))["meta"]["after"]
    for caller, query in (("rival", {}), ("demo", {"type": "booking.cancelled"})):
        answer = await ask(client, caller, after=after, **query)
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["parameter"] == "after"


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ({"type": "booking.exploded"}, "type"),
        ({"type": ["booking.confirmed", ""]}, "type"),
        ({"type": ["booking.confirmed"] * 21}, "type"),
        ({"limit": "0"}, "limit"),
        ({"limit": "201"}, "limit"),
        ({"after": "made-up"}, "after"),
    ],
)
async def test_a_query_that_is_not_as_described_is_refused_by_its_parameter(
    client: httpx.AsyncClient, query: dict[str, Any], parameter: str
) -> None:
    answer = await ask(client, "demo", **query)
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["code"] == "validation_error"
    assert [entry["parameter"] for entry in problem["errors"]] == [parameter]


@pytest.mark.parametrize(("caller", "status"), [("nobody", 401), ("seller", 403)])
async def test_the_scope_is_needed(client: httpx.AsyncClient, caller: str, status: int) -> None:
    assert (await ask(client, caller)).status_code == status


async def ask(client: httpx.AsyncClient, caller: str, **query: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {caller}"}
    return await client.get("/v1/events", params=query, headers=headers)


async def get(client: httpx.AsyncClient, caller: str = "demo", **query: Any) -> Any:
    answer = await ask(client, caller, **query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def publish(database: Database, *facts: Any) -> None:
    await append(database, *facts)
    await number(database)


def sequences(answer: Any) -> list[int]:
    return [event["sequence"] for event in answer["data"]]


def about(answer: Any) -> list[str]:
    return [event["aggregate"]["id"] for event in answer["data"]]
