"""`/v1/holds`: the cost of `sold_out`."""

import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from app.hold.errors import SoldOut
from app.hold.model import ClassChoice, Full, Hold, HoldRequest
from app.idempotency.model import Answered, IdempotencyKey
from app.ids import FlightId, TenantId
from app.transport.http.application import create_app
from app.transport.http.pipeline.dependencies import CURSORS
from app.transport.http.routers.hold import HOLDS, router
from app.transport.http.wire.cursors import Cursors
from tests.transport.http.tiny import GOOD, KEY, authenticate, client_of

BODY = {
    "segments": [{"flight_id": "flt_1", "booking_class": "Y"}],
    "passengers": {"ADT": 2, "CHD": 0, "INF": 0},
}


class _Full:
    """Refuses every hold."""

    def __init__(self) -> None:
        self.refused: list[weakref.ref[SoldOut]] = []

    async def try_place(
        self, tenant_id: TenantId, request: HoldRequest, key: IdempotencyKey
    ) -> Answered[Hold] | SoldOut:
        choice = ClassChoice(FlightId("flt_1"), "Y")
        refusal = SoldOut.of([choice], 2, Full((1,), None), by_offer=False)
        self.refused.append(weakref.ref(refusal))
        return refusal

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} is not called")


async def test_sold_out_leaves_nothing_to_the_garbage_collector() -> None:
    """A raised exception would reference its frames, and through them the whole request."""
    holds = _Full()
    app = create_app(
        authenticate=authenticate,
        routers=[router],
        services=[HOLDS.given(holds), CURSORS.given(Cursors(["key"]))],
        checks={},
        version="0",
    )
    async with client_of(app) as client:
        with _without_collector():
            answers = [await _ask(client) for _ in range(3)]
            assert [one() for one in holds.refused] == [None] * 3
    assert {answer.status_code for answer in answers} == {409}
    (said,) = answers[0].json()["errors"]
    assert (said["code"], said["requested"], said["open"]) == ("sold_out", 2, 1)


async def _ask(client: httpx.AsyncClient) -> httpx.Response:
    return await client.post("/v1/holds", json=BODY, headers={**GOOD, **KEY})


@contextmanager
def _without_collector() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
