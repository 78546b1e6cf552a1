"""Requests to any server as JSON values, and the history of their answers."""

import itertools
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from tests.faults.history import OK, REFUSED, History, Operation
from tests.fixtures.api import Api

Json = dict[str, Any]

KEPT_HEADERS = (
    "content-type",
    "idempotent-replayed",
    "location",
    "retry-after",
    "x-request-id",
)


class Oracle(Api):
    """The oracle as a process, with the interface of an API process."""

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", "tests.faults.oracle.main"]


@dataclass(frozen=True, slots=True)
class Ask:
    kind: str
    method: str
    path: str
    body: Json | None = None
    key: str | None = None
    subject: str | None = None
    tenant: str = "demo"


@dataclass(frozen=True, slots=True)
class Asking:
    """A client of one server that records its requests."""

    api: Api
    history: History = field(default_factory=History)
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    async def ask(self, ask: Ask, client: str = "one") -> Operation:
        number = next(self._numbers)
        headers = {"X-Request-Id": f"r{number}"}
        if ask.key is not None:
            headers["Idempotency-Key"] = ask.key
        invoked_at = time.monotonic()
        reply = await self.api.client(ask.tenant).request(
            ask.method, ask.path, json=ask.body, headers=headers
        )
        answer = reply.json() if reply.content else None
        operation = Operation(
            number=number,
            client=client,
            process=self.api.url,
            kind=ask.kind,
            tenant=ask.tenant,
            key=ask.key,
            subject=ask.subject,
            request=ask.body or {},
            request_id=f"r{number}",
            invoked_at=invoked_at,
            completed_at=time.monotonic(),
            outcome=OK if reply.is_success else REFUSED,
            status=reply.status_code,
            code=None if reply.is_success else str((answer or {}).get("code")),
            answer=answer,
            headers=_copied(reply.headers),
            digest=sha256(reply.content).hexdigest(),
        )
        self.history.append(operation)
        return operation

    async def at_rest(self) -> None:
        """Wait until every fact is published."""
        await self.api.until("SELECT count(*) FROM outbox WHERE published_at IS NULL", [(0,)])


def _copied(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: headers[name] for name in KEPT_HEADERS if name in headers}


def hold(body: Json, key: str, tenant: str = "demo") -> Ask:
    return Ask("hold", "POST", "/v1/holds", body, key, tenant=tenant)


def book(body: Json, key: str, tenant: str = "demo") -> Ask:
    return Ask("book", "POST", "/v1/bookings", body, key, str(body["hold_id"]), tenant)


def get_hold(hold_id: str, tenant: str = "demo") -> Ask:
    return Ask("get_hold", "GET", f"/v1/holds/{hold_id}", subject=hold_id, tenant=tenant)


def release(hold_id: str, tenant: str = "demo") -> Ask:
    return Ask("release", "DELETE", f"/v1/holds/{hold_id}", subject=hold_id, tenant=tenant)


def extend(hold_id: str, key: str | None, tenant: str = "demo") -> Ask:
    path = f"/v1/holds/{hold_id}/extend"
    return Ask("extend", "POST", path, key=key, subject=hold_id, tenant=tenant)


def cancel(booking_id: str, key: str | None = None, tenant: str = "demo") -> Ask:
    path = f"/v1/bookings/{booking_id}/cancel"
    return Ask("cancel", "POST", path, key=key, subject=booking_id, tenant=tenant)


def get_booking(booking_id: str, tenant: str = "demo") -> Ask:
    path = f"/v1/bookings/{booking_id}"
    return Ask("get_booking", "GET", path, subject=booking_id, tenant=tenant)


def availability(flight_id: str) -> Ask:
    path = f"/v1/flights/{flight_id}/availability"
    return Ask("availability", "GET", path, subject=flight_id, tenant="ops")


def patch(flight_id: str, body: Json) -> Ask:
    path = f"/v1/flights/{flight_id}/inventory"
    return Ask("patch", "PATCH", path, body, subject=flight_id, tenant="ops")
