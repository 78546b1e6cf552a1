"""A promise as its row in the journal, and back; JSON where the row has JSON."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC
from typing import Any

from sqlalchemy import CursorResult, RowMapping

from app.hold.model import JournalState, Promise
from app.ids import FlightId, HoldId, TenantId
from app.inventory.itinerary import PassengerCounts, Price, Segment
from app.inventory.model import CabinName, SeatLine


def lines_to_json(lines: Iterable[SeatLine]) -> list[list[Any]]:
    return [[line.flight_id, line.cabin.value, line.position, line.seats] for line in lines]


def lines_from_json(data: Iterable[Sequence[Any]]) -> tuple[SeatLine, ...]:
    return tuple(
        SeatLine(FlightId(flight_id), CabinName(cabin), position, seats)
        for flight_id, cabin, position, seats in data
    )


def promise_from(row: RowMapping | Mapping[str, Any]) -> Promise:
    return Promise(
        hold_id=HoldId(row["hold_id"]),
        tenant_id=TenantId(row["tenant_id"]),
        idempotency_key=row["idempotency_key"],
        attempt=row["attempt"],
        request_hash=row["request_hash"],
        client_reference=row["client_reference"],
        lines=lines_from_json(json_of(row["lines"])),
        segments=tuple(Segment.from_json(segment) for segment in json_of(row["segments"])),
        passengers=PassengerCounts.from_json(json_of(row["passengers"])),
        price=Price.from_json(json_of(row["price"])),
        epoch=row["epoch"],
        granted_at=row["granted_at"].astimezone(UTC),
        expires_at=row["expires_at"].astimezone(UTC),
        first_expires_at=row["first_expires_at"].astimezone(UTC),
        extensions_used=row["extensions_used"],
        fence=row["fence"],
        state=JournalState(row["state"]),
    )


def json_of(value: Any) -> Any:
    """Rows of textual statements bring JSON as text."""
    return json.loads(value) if isinstance(value, str) else value


def row_of(promise: Promise) -> dict[str, Any]:
    return {
        "hold_id": promise.hold_id,
        "tenant_id": promise.tenant_id,
        "idempotency_key": promise.idempotency_key,
        "attempt": promise.attempt,
        "request_hash": promise.request_hash,
        "client_reference": promise.client_reference,
        "lines": lines_to_json(promise.lines),
        "segments": [segment.to_json() for segment in promise.segments],
        "passengers": promise.passengers.to_json(),
        "price": promise.price.to_json(),
        "epoch": promise.epoch,
        "granted_at": promise.granted_at.isoformat(),
        "expires_at": promise.expires_at.isoformat(),
        "state": promise.state.value,
    }


def states_by_id(rows: CursorResult[Any]) -> dict[HoldId, JournalState]:
    return {HoldId(hold_id): JournalState(state) for hold_id, state in rows}
