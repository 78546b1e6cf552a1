"""The oracle's own SQL. Every decision is made while its rows are locked.

Locks are taken in one order: holds by id, then inventory by flight and cabin. An expired hold is ended before
seats are counted; that waits for a booking that has locked its row.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, text

from app.ids import FlightId, HoldId, TenantId
from app.inventory.model import CabinCounts, CabinName, open_seats
from app.storage.database import ReadSession, WriteSession

Cabin = tuple[FlightId, CabinName]

_TOUCHES = """EXISTS (SELECT 1 FROM jsonb_array_elements(lines) AS line
    WHERE line ->> 0 = ANY(CAST(:flight_ids AS text[])))"""
_END_DUE = text(
    f"""
    UPDATE hold_journal SET state = 'EXPIRED', ended_at = clock_timestamp()
    WHERE state = 'HELD' AND hold_id IN (
        SELECT hold_id FROM hold_journal
        WHERE state = 'HELD' AND expires_at <= clock_timestamp()
          AND (hold_id = ANY(CAST(:hold_ids AS text[])) OR {_TOUCHES})
        ORDER BY hold_id FOR UPDATE)
    """
)
_LOCK_INVENTORY = text(
    """
    SELECT flight_id, cabin, limits, sold FROM inventory
    WHERE flight_id = ANY(CAST(:flight_ids AS text[]))
    ORDER BY flight_id, cabin FOR UPDATE
    """
)
_INVENTORY = text(
    """
    SELECT flight_id, cabin, limits, sold FROM inventory
    WHERE flight_id = ANY(CAST(:flight_ids AS text[]))
    """
)
_HELD = text(
    """
    SELECT line ->> 0 AS flight_id, line ->> 1 AS cabin, CAST(line ->> 2 AS int) AS position,
           CAST(line ->> 3 AS int) AS seats, expires_at
    FROM hold_journal, jsonb_array_elements(lines) AS line
    WHERE state = 'HELD' AND line ->> 0 = ANY(CAST(:flight_ids AS text[]))
    """
)
_LOCK_HOLD = text(
    """
    SELECT state, fence, expires_at <= clock_timestamp() AS is_due FROM hold_journal
    WHERE hold_id = :hold_id FOR UPDATE
    """
)
_RELEASE = text(
    "UPDATE hold_journal SET state = 'RELEASED', ended_at = clock_timestamp()"
    " WHERE hold_id = :hold_id AND tenant_id = :tenant_id AND state = 'HELD'"
)
_EXTEND = text(
    "UPDATE hold_journal SET expires_at = :expires_at, extensions_used = 1"
    " WHERE hold_id = :hold_id AND state = 'HELD' AND extensions_used = 0"
)
_NOW = text("SELECT date_trunc('milliseconds', clock_timestamp())")


@dataclass(frozen=True, slots=True)
class Seats:
    """A cabin's present counts, and when the first hold on its flight expires."""

    counts: CabinCounts
    first_end: datetime | None

    def open(self, position: int) -> int:
        return self.counts.open[position - 1]

    def open_without_holds(self, position: int) -> int:
        return open_seats(self.counts.limits, self.counts.sold)[position - 1]


@dataclass(frozen=True, slots=True)
class LockedHold:
    state: str
    fence: int
    is_due: bool


async def now(session: ReadSession) -> datetime:
    found: datetime = (await session.execute(_NOW)).scalar_one()
    return found.astimezone(UTC)


async def end_due(
    session: WriteSession, *, hold_ids: Collection[HoldId] = (), flights: Collection[FlightId] = ()
) -> None:
    """HELD → EXPIRED for the expired ones of these holds, or of the holds on these flights."""
    values = {"hold_ids": sorted(hold_ids), "flight_ids": sorted(flights)}
    await session.execute(_END_DUE, values)


async def lock_hold(session: WriteSession, hold_id: HoldId) -> LockedHold | None:
    row = (await session.execute(_LOCK_HOLD, {"hold_id": hold_id})).one_or_none()
    return None if row is None else LockedHold(row.state, row.fence, row.is_due)


async def release(session: WriteSession, tenant_id: TenantId, hold_id: HoldId) -> None:
    await session.execute(_RELEASE, {"hold_id": hold_id, "tenant_id": tenant_id})


async def extend(session: WriteSession, hold_id: HoldId, expires_at: datetime) -> bool:
    """Returns False if it was extended before; the caller has locked it and found it live."""
    values = {"hold_id": hold_id, "expires_at": expires_at}
    return (await session.execute(_EXTEND, values)).rowcount == 1


async def lock_seats(session: WriteSession, flights: Collection[FlightId]) -> dict[Cabin, Seats]:
    """Lock the cabins: no other transaction sells or holds their seats until this one ends."""
    values = {"flight_ids": sorted(flights)}
    cabins = (await session.execute(_LOCK_INVENTORY, values)).all()
    return await _counted(session, values, cabins)


async def seats(session: ReadSession, flights: Collection[FlightId]) -> dict[Cabin, Seats]:
    values = {"flight_ids": sorted(flights)}
    return await _counted(session, values, (await session.execute(_INVENTORY, values)).all())


async def _counted(
    session: ReadSession, values: dict[str, list[FlightId]], cabins: Collection[Row[Any]]
) -> dict[Cabin, Seats]:
    """Every HELD row counts, also one that has expired in the meantime."""
    held: dict[Cabin, list[tuple[int, int]]] = {}
    ends: dict[FlightId, datetime] = {}
    for row in await session.execute(_HELD, values):
        flight_id = FlightId(row.flight_id)
        held.setdefault((flight_id, CabinName(row.cabin)), []).append((row.position, row.seats))
        end = row.expires_at.astimezone(UTC)
        ends[flight_id] = min(end, ends.get(flight_id, end))
    found: dict[Cabin, Seats] = {}
    for row in cabins:
        name = FlightId(row.flight_id), CabinName(row.cabin)
        taken = [0] * len(row.sold)
        for position, count in held.get(name, ()):
            taken[position - 1] += count
        counts = CabinCounts(tuple(row.limits), tuple(row.sold), tuple(taken))
        found[name] = Seats(counts, ends.get(name[0]))
    return found
