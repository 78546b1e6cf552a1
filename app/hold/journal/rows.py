"""A promise as its row in the journal, and back; JSON where the row has JSON."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC
from functools import lru_cache
from json.encoder import encode_basestring_ascii as quoted
from typing import Any, Final

from sqlalchemy import CursorResult, RowMapping

from app.hold.model import JournalEntry, JournalState
from app.ids import FlightId, HoldId, TenantId
from app.inventory.itinerary import PassengerCounts, Price, Segment
from app.inventory.model import CabinName, SeatLine

TEXTS_MAX: Final = 8192  # of each kind; what is held is held again


def lines_to_json(lines: Iterable[SeatLine]) -> list[list[Any]]:
    return [[line.flight_id, line.cabin.value, line.position, line.seats] for line in lines]


def lines_from_json(data: Iterable[Sequence[Any]]) -> tuple[SeatLine, ...]:
    return tuple(
        SeatLine(FlightId(flight_id), CabinName(cabin), position, seats)
        for flight_id, cabin, position, seats in data
    )


def promise_from(row: RowMapping | Mapping[str, Any]) -> JournalEntry:
    return JournalEntry(
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


def row_text(promise: JournalEntry) -> str:
    """The row as JSON. Of most promises all but the ids and times was written before."""
    lines = ",".join(
        f'["{line.flight_id}","{line.cabin}",{line.position},{line.seats}]'
        for line in promise.lines
    )
    segments = ",".join(map(_segment_text, promise.segments))
    reference = promise.client_reference
    return (
        f'{{"hold_id":"{promise.hold_id}","tenant_id":{quoted(promise.tenant_id)},'
        f'"idempotency_key":{quoted(promise.idempotency_key)},"attempt":{promise.attempt},'
        f'"request_hash":"{promise.request_hash}",'
        f'"client_reference":{"null" if reference is None else quoted(reference)},'
        f'"lines":[{lines}],"segments":[{segments}],'
        f'"passengers":{_passengers_text(promise.passengers)},"price":{_price_text(promise.price)},'
        f'"epoch":{promise.epoch},"granted_at":"{promise.granted_at.isoformat()}",'
        f'"expires_at":"{promise.expires_at.isoformat()}","state":"{promise.state}"}}'
    )


@lru_cache(maxsize=TEXTS_MAX)
def _segment_text(segment: Segment) -> str:
    return json.dumps(segment.to_json())


@lru_cache(maxsize=TEXTS_MAX)
def _passengers_text(passengers: PassengerCounts) -> str:
    return json.dumps(passengers.to_json())


@lru_cache(maxsize=TEXTS_MAX)
def _price_text(price: Price) -> str:
    return json.dumps(price.to_json())


def states_by_id(rows: CursorResult[Any]) -> dict[HoldId, JournalState]:
    return {HoldId(hold_id): JournalState(state) for hold_id, state in rows}
