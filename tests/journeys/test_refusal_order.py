"""A request with every error, corrected one error at a time: the refusals come in the contract's order."""

import json
from dataclasses import dataclass, replace

import httpx
import pytest

from tests.builders.wire import (
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
    refusal,
)
from tests.fixtures.api import Api

TOO_LARGE = b'{"x":"' + b"x" * 70_000 + b'"}'


@dataclass(frozen=True)
class Wrong:
    """A request, as far as it is still wrong."""

    path: str
    method: str
    token: str | None = None
    body: bytes = TOO_LARGE
    media_type: str = "text/plain"
    key: str | None = None

    async def refused(self, client: httpx.AsyncClient) -> tuple[int, str]:
        headers = {"Content-Type": self.media_type}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        if self.key is not None:
            headers["Idempotency-Key"] = self.key
        return refusal(
            await client.request(self.method, self.path, content=self.body, headers=headers)
        )


@pytest.mark.parametrize("route", ["hold", "booking", "flight", "inventory"])
async def test_the_order_of_refusals(api: Api, route: str) -> None:
    method, path, body, state = await _case(api, route)
    caller = "ops" if route in ("flight", "inventory") else "demo"
    needs_key = route in ("hold", "booking")
    nobody = api.client(None)
    wrong = Wrong(path + "/no/such/route", "PUT" if method == "POST" else "POST")

    assert await wrong.refused(nobody) == (404, "not_found")
    wrong = replace(wrong, path=path)
    assert await wrong.refused(nobody) == (405, "method_not_allowed")
    wrong = replace(wrong, method=method)
    assert await wrong.refused(nobody) == (401, "unauthenticated")
    wrong = replace(wrong, token=api.tokens[caller] + "x")
    assert await wrong.refused(nobody) == (401, "unauthenticated")
    wrong = replace(wrong, token=await api.token(caller, scope="offers:read"))
    assert await wrong.refused(nobody) == (403, "scope_missing")
    wrong = replace(wrong, token=api.tokens[caller])
    assert await wrong.refused(nobody) == (413, "body_too_large")
    wrong = replace(wrong, body=b'{"x":')
    assert await wrong.refused(nobody) == (415, "unsupported_media_type")
    wrong = replace(wrong, media_type="application/json")
    assert await wrong.refused(nobody) == (400, "malformed_json")
    wrong = replace(wrong, body=b'{"x":1}')
    if needs_key:
        assert await wrong.refused(nobody) == (400, "idempotency_key_missing")
        wrong = replace(wrong, key="k" * 256)
        assert await wrong.refused(nobody) == (400, "idempotency_key_missing")
        wrong = replace(wrong, key=new_key()["Idempotency-Key"])
    assert await wrong.refused(nobody) == (422, "validation_error")
    wrong = replace(wrong, body=json.dumps(body).encode())
    assert await wrong.refused(nobody) == state


async def test_the_state_is_checked_last(api: Api) -> None:
    """An invalid body is refused before the state of the hold is checked."""
    flight_id = await put_flight(api.ops)
    its_hold = await hold(api.demo, (flight_id, "Y"))
    await api.demo.delete(f"/v1/holds/{its_hold['id']}")
    order = booking_body(its_hold)
    order["payment"]["amount"] = "1"

    answer = await api.demo.post("/v1/bookings", json=order, headers=new_key())

    assert refusal(answer) == (422, "validation_error")
    assert [error["code"] for error in answer.json()["errors"]] == ["amount_mismatch"]


async def test_every_refusal_has_the_one_shape(api: Api) -> None:
    answer = await api.demo.get("/v1/holds/hold_none", headers={"X-Request-Id": "mine-1"})
    assert answer.headers["x-request-id"] == "mine-1"
    assert answer.headers["cache-control"] == "no-store"
    problem = answer.json()
    assert problem.pop("title")
    assert problem.pop("detail")
    assert problem == {
        "type": "/docs/problems#not_found",
        "status": 404,
        "instance": "/v1/holds/hold_none",
        "code": "not_found",
        "request_id": "mine-1",
        "retryable": False,
    }


async def _case(api: Api, route: str) -> tuple[str, str, Json, tuple[int, str]]:
    """Method, path, a good body, and the state that refuses it."""
    flight_id = await put_flight(api.ops, classes=(("Y", 1, "129900"),))
    match route:
        case "hold":
            await hold(api.rival, (flight_id, "Y"))
            return "POST", "/v1/holds", hold_body((flight_id, "Y")), (409, "sold_out")
        case "booking":
            its_hold = await hold(api.demo, (flight_id, "Y"))
            await book(api.demo, its_hold)
            return "POST", "/v1/bookings", booking_body(its_hold), (409, "hold_not_active")
        case "flight":
            await hold(api.demo, (flight_id, "Y"))
            moved = flight_body(hour=12, classes=(("Y", 1, "129900"),))
            return "PUT", f"/v1/flights/{flight_id}", moved, (409, "flight_in_use")
        case _:
            path = f"/v1/flights/{new_flight_id()}/inventory"
            return "PATCH", path, limit_body("Y", 5), (404, "not_found")
