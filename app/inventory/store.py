"""The SQL of flights and inventory, except pages.py. Takes a session, never commits.

Conditions hold at READ COMMITTED: each stands in the UPDATE itself, so that PostgreSQL evaluates it again
on the row's latest version after it has waited for a lock. Rows are locked in sorted order.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import RowMapping, bindparam, select, text, type_coerce
from sqlalchemy.types import NULLTYPE

from app.ids import FlightId
from app.inventory.model import (
    BookingClass,
    Cabin,
    CabinName,
    FareClass,
    Flight,
    InventoryRow,
    LocalTime,
    SeatLine,
)
from app.inventory.tables import flights, inventory
from app.money import Money
from app.storage.database import ReadSession, WriteSession

FLIGHT_COLUMNS = (
    flights.c.flight_id,
    flights.c.carrier,
    flights.c.flight_number,
    flights.c.origin,
    flights.c.destination,
    flights.c.departing_local,
    flights.c.departing_time_zone,
    flights.c.departing_utc,
    flights.c.arriving_local,
    flights.c.arriving_time_zone,
    flights.c.arriving_utc,
    flights.c.version,
    inventory.c.cabin,
    inventory.c.capacity,
    inventory.c.currency,
    *(
        # The driver already returns lists; SQLAlchemy's ARRAY would copy each, which doubles the time.
        type_coerce(one, NULLTYPE).label(one.name)
        for one in (inventory.c.booking_classes, inventory.c.fares, inventory.c.limits)
    ),
)
"""What `flights_from_rows` needs, one row per flight and cabin."""
_TERMS, _CABIN, _ALL = 12, 15, 18  # where the columns of flight, cabin and cabin's arrays end
CABINS_MAX: Final = 4096  # measured: 0.8 KiB each, 3 MiB when full; flights of a market share them

# Locks the rows first, in order, and counts from the locked values. The ceilings are compared for the
# nested classes whose count grows: from the first to the lowest one in the request.
_CHANGE_SOLD = text(
    """
    WITH asked AS (
        SELECT flight_id, cabin, position, CAST(sum(seats) AS integer) AS seats
        FROM unnest(CAST(:flight_ids AS text[]), CAST(:cabins AS text[]),
                    CAST(:positions AS integer[]), CAST(:seats AS integer[]))
             AS asked (flight_id, cabin, position, seats)
        GROUP BY flight_id, cabin, position),
    locked AS (
        SELECT inventory.flight_id, cabin, sold, ceilings, flights.version AS flight_version
        FROM inventory JOIN flights ON flights.flight_id = inventory.flight_id
        WHERE (inventory.flight_id, cabin) IN (SELECT flight_id, cabin FROM asked)
        ORDER BY inventory.flight_id, cabin FOR UPDATE OF inventory),
    classes AS (
        SELECT locked.flight_id, locked.cabin, flight_version, j, ceiling,
               was + coalesce(seats, 0) AS becomes, coalesce(seats, 0) AS seats,
               max(asked.position) OVER cabin AS lowest,
               sum(was + coalesce(seats, 0)) OVER (cabin ORDER BY j DESC) AS from_here_down
        FROM locked
        CROSS JOIN LATERAL unnest(sold, ceilings) WITH ORDINALITY AS class (was, ceiling, j)
        LEFT JOIN asked ON asked.flight_id = locked.flight_id AND asked.cabin = locked.cabin
                       AND asked.position = j
        WINDOW cabin AS (PARTITION BY locked.flight_id, locked.cabin)),
    moved AS (
        SELECT flight_id, cabin, flight_version, array_agg(becomes ORDER BY j) AS sold,
               sum(seats) AS seats,
               bool_and(from_here_down <= ceiling OR j > lowest) AS fits
        FROM classes GROUP BY flight_id, cabin, flight_version)
    UPDATE inventory
    SET sold = moved.sold, sold_total = sold_total + moved.seats, version = inventory.version + 1
    FROM moved
    WHERE inventory.flight_id = moved.flight_id AND inventory.cabin = moved.cabin
      AND (moved.fits OR NOT :guarded)
    RETURNING inventory.flight_id, inventory.cabin, limits, inventory.sold,
              inventory.version AS version, flight_version
    """
)
# Cabins with a ceiling above both its limit and the seats sold: only such a ceiling can be lowered.
_CABINS_WITH_EXCESS_CEILING = text(
    """
    SELECT flight_id, cabin FROM inventory
    WHERE ceilings <> limits AND (flight_id, cabin) > (:flight_id, :cabin)
      AND EXISTS (
        SELECT 1 FROM (
            SELECT c, l, sum(s) OVER (ORDER BY j DESC) AS sold_from_here_down
            FROM unnest(sold, ceilings, limits) WITH ORDINALITY AS t(s, c, l, j)) AS nested
        WHERE c > greatest(l, sold_from_here_down))
    ORDER BY flight_id, cabin
    LIMIT :count
    """
)
_LOWER_CEILINGS = text(
    """
    WITH lower AS (
        SELECT array_agg(level ORDER BY j) AS ceilings
        FROM (
            SELECT j, CAST(least(c, greatest(l, sum(t) OVER (ORDER BY j DESC))) AS int) AS level
            FROM inventory,
                 unnest(ceilings, limits, CAST(:taken AS int[])) WITH ORDINALITY AS u(c, l, t, j)
            WHERE flight_id = :flight_id AND cabin = :cabin) AS levels)
    UPDATE inventory SET ceilings = lower.ceilings, ceiling_total = lower.ceilings[1]
    FROM lower
    WHERE flight_id = :flight_id AND cabin = :cabin AND version = :version
      AND cardinality(limits) = cardinality(CAST(:taken AS int[]))
      AND inventory.ceilings <> lower.ceilings
    """
)
_ROWS_OF_FLIGHTS = text(
    """
    SELECT inventory.flight_id, cabin, limits, sold, inventory.version AS version,
           flights.version AS flight_version
    FROM inventory JOIN flights ON flights.flight_id = inventory.flight_id
    WHERE inventory.flight_id = ANY(CAST(:flight_ids AS text[]))
    ORDER BY inventory.flight_id, cabin
    """
)
# Built once: building it takes longer than reading its result.
_READ_FLIGHTS = (
    select(*FLIGHT_COLUMNS)
    .join_from(flights, inventory, flights.c.flight_id == inventory.c.flight_id)
    .where(flights.c.flight_id.in_(bindparam("flight_ids", expanding=True)))
    .order_by(flights.c.flight_id, inventory.c.rank)
)


async def read_flights(
    session: ReadSession, flight_ids: Iterable[FlightId]
) -> dict[FlightId, Flight]:
    """The flights that exist, by id."""
    wanted = sorted(set(flight_ids))
    if not wanted:
        return {}
    rows = await session.execute(_READ_FLIGHTS, {"flight_ids": wanted})
    return {flight.flight_id: flight for flight in flights_from_rows(rows)}


def flights_from_rows(rows: Iterable[Sequence[Any]]) -> list[Flight]:
    """Build flights from rows that begin with `FLIGHT_COLUMNS`; a flight's cabins are consecutive."""
    folded: list[Flight] = []
    for row in rows:
        cabin = _cabin(*row[_TERMS:_CABIN], *map(tuple, row[_CABIN:_ALL]))
        if folded and folded[-1].flight_id == row[0]:
            last = folded[-1]
            folded[-1] = _flight(row, (*last.cabins, cabin))
        else:
            folded.append(_flight(row, (cabin,)))
    return folded


async def add_sold(
    session: WriteSession, lines: Sequence[SeatLine]
) -> list[InventoryRow] | SeatLine:
    """Add the lines' seats to what is sold; return the changed rows, or a line that does not fit.

    If a line does not fit, the caller must roll back. Lines may have any order: rows are locked in theirs.
    """
    changed = await _change_sold(session, lines, sign=1)
    fitted = {(row.flight_id, row.cabin) for row in changed}
    for line in in_lock_order(lines):
        if (line.flight_id, line.cabin) not in fitted:
            return line
    return changed


async def subtract_sold(session: WriteSession, lines: Sequence[SeatLine]) -> list[InventoryRow]:
    """Subtract the lines' seats from what is sold; `no_oversell` refuses a total below 0."""
    return await _change_sold(session, lines, sign=-1)


async def cabins_with_excess_ceiling(
    session: ReadSession, after: tuple[str, str], count: int
) -> list[tuple[FlightId, CabinName]]:
    """Cabins with a ceiling above both limit and sales: at most `count` after the key, in key order."""
    flight_id, cabin = after
    found = await session.execute(
        _CABINS_WITH_EXCESS_CEILING, {"flight_id": flight_id, "cabin": cabin, "count": count}
    )
    return [(FlightId(row.flight_id), CabinName(row.cabin)) for row in found]


async def lower_ceilings(
    session: WriteSession,
    flight_id: FlightId,
    cabin: CabinName,
    version: int,
    taken: Sequence[int],
) -> bool:
    """Lower each ceiling to its limit or to the seats taken from that class down, whichever is more. False
    for another version or equal ceilings. The row keeps its version: Redis does not know ceilings.
    """
    lowered = await session.execute(
        _LOWER_CEILINGS,
        {
            "flight_id": flight_id,
            "cabin": cabin.value,
            "version": version,
            "taken": list(taken),
        },
    )
    return lowered.rowcount == 1


async def read_rows(session: ReadSession, flight_ids: Iterable[FlightId]) -> list[InventoryRow]:
    found = await session.execute(_ROWS_OF_FLIGHTS, {"flight_ids": sorted(set(flight_ids))})
    return [inventory_row(row) for row in found.mappings()]


def in_lock_order(lines: Sequence[SeatLine]) -> list[SeatLine]:
    """The lines in the order in which all code locks inventory rows; it prevents deadlocks."""
    return sorted(lines, key=lambda line: (line.flight_id, line.cabin.value, line.position))


def inventory_row(row: Mapping[str, Any] | RowMapping) -> InventoryRow:
    return InventoryRow(
        FlightId(row["flight_id"]),
        CabinName(row["cabin"]),
        tuple(row["limits"]),
        tuple(row["sold"]),
        row["version"],
        row["flight_version"],
    )


async def _change_sold(
    session: WriteSession, lines: Sequence[SeatLine], *, sign: int
) -> list[InventoryRow]:
    ordered = in_lock_order(lines)
    values = {
        "flight_ids": [line.flight_id for line in ordered],
        "cabins": [line.cabin.value for line in ordered],
        "positions": [line.position for line in ordered],
        "seats": [sign * line.seats for line in ordered],
        "guarded": sign > 0,
    }
    moved = await session.execute(_CHANGE_SOLD, values)
    return [inventory_row(row) for row in moved.mappings()]


def _flight(row: Sequence[Any], cabins: tuple[Cabin, ...]) -> Flight:
    (
        flight_id,
        carrier,
        flight_number,
        origin,
        destination,
        departing_local,
        departing_time_zone,
        departing_utc,
        arriving_local,
        arriving_time_zone,
        arriving_utc,
        version,
    ) = row[:_TERMS]
    return Flight(
        FlightId(flight_id),
        carrier,
        flight_number,
        origin,
        destination,
        LocalTime(departing_local, departing_time_zone, departing_utc.astimezone(UTC)),
        LocalTime(arriving_local, arriving_time_zone, arriving_utc.astimezone(UTC)),
        cabins,
        version,
    )


@lru_cache(maxsize=CABINS_MAX)
def _cabin(
    cabin: str,
    capacity: int,
    currency: str,
    booking_classes: tuple[str, ...],
    fares: tuple[int, ...],
    limits: tuple[int, ...],
) -> Cabin:
    return Cabin(
        CabinName(cabin),
        capacity,
        tuple(
            FareClass(BookingClass(letter), limit, Money(fare, currency))
            for letter, limit, fare in zip(booking_classes, limits, fares, strict=True)
        ),
    )
