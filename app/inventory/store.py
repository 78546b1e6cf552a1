"""The only SQL on flights and inventory; Postgres only. Takes a session, never commits.

Guards are written so that they hold at READ COMMITTED: the condition stands in the UPDATE itself and is
judged again on the row's latest version after a wait. Callers name rows in sorted order.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import UTC
from typing import Any

from sqlalchemy import RowMapping, select, text

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
    inventory.c.booking_classes,
    inventory.c.fares,
    inventory.c.currency,
    inventory.c.limits,
)
"""What `flights_from_rows` needs, one row per flight and cabin."""

_SELL = text(
    """
    UPDATE inventory SET
        sold = (SELECT array_agg(CASE WHEN j = :position THEN s + :seats ELSE s END ORDER BY j)
                FROM unnest(sold) WITH ORDINALITY AS t(s, j)),
        sold_total = sold_total + :seats,
        version = inventory.version + 1
    FROM flights
    WHERE inventory.flight_id = :flight_id AND cabin = :cabin
      AND flights.flight_id = inventory.flight_id
      AND cardinality(sold) >= :position
      AND NOT EXISTS (
        SELECT 1 FROM (
            SELECT c, j, sum(s) OVER (ORDER BY j DESC) AS sold_from_here_down
            FROM unnest(sold, ceilings) WITH ORDINALITY AS t(s, c, j)) AS nested
        WHERE j <= :position AND sold_from_here_down + :seats > c)
    RETURNING inventory.flight_id, cabin, limits, sold, inventory.version AS version,
              flights.version AS flight_version
    """
)
_GIVE_BACK = text(
    """
    UPDATE inventory SET
        sold = (SELECT array_agg(CASE WHEN j = :position THEN s - :seats ELSE s END ORDER BY j)
                FROM unnest(sold) WITH ORDINALITY AS t(s, j)),
        sold_total = sold_total - :seats,
        version = inventory.version + 1
    FROM flights
    WHERE inventory.flight_id = :flight_id AND cabin = :cabin
      AND flights.flight_id = inventory.flight_id
    RETURNING inventory.flight_id, cabin, limits, sold, inventory.version AS version,
              flights.version AS flight_version
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
_ROWS_PAGE = text(
    """
    SELECT inventory.flight_id, cabin, limits, sold, inventory.version AS version,
           flights.version AS flight_version
    FROM inventory JOIN flights ON flights.flight_id = inventory.flight_id
    WHERE (inventory.flight_id, cabin) > (:flight_id, :cabin) AND flights.departing_utc > :since
    ORDER BY inventory.flight_id, cabin
    LIMIT :count
    """
)


async def read_flights(
    session: ReadSession, flight_ids: Iterable[FlightId]
) -> dict[FlightId, Flight]:
    """The flights that exist, of those named."""
    wanted = sorted(set(flight_ids))
    if not wanted:
        return {}
    rows = await session.execute(
        select(*FLIGHT_COLUMNS)
        .join_from(flights, inventory, flights.c.flight_id == inventory.c.flight_id)
        .where(flights.c.flight_id.in_(wanted))
        .order_by(flights.c.flight_id, inventory.c.rank)
    )
    return {flight.flight_id: flight for flight in flights_from_rows(rows.mappings())}


def flights_from_rows(rows: Iterable[RowMapping]) -> list[Flight]:
    """Folds rows of `FLIGHT_COLUMNS`, in which a flight's cabins stand together, into flights."""
    folded: list[Flight] = []
    for row in rows:
        cabin = _cabin(row)
        if folded and folded[-1].flight_id == row["flight_id"]:
            last = folded[-1]
            folded[-1] = _flight(row, (*last.cabins, cabin))
        else:
            folded.append(_flight(row, (cabin,)))
    return folded


async def sell(session: WriteSession, lines: Sequence[SeatLine]) -> list[InventoryRow] | SeatLine:
    """Counts the lines as sold, or names the first that no longer fits under its ceilings.

    The caller rolls back in the second case. Rows are taken in sorted order whatever the lines' own.
    """
    changed = []
    for line in in_lock_order(lines):
        row = (await session.execute(_SELL, _parameters(line))).mappings().one_or_none()
        if row is None:
            return line
        changed.append(inventory_row(row))
    return changed


async def give_back(session: WriteSession, lines: Sequence[SeatLine]) -> list[InventoryRow]:
    """Takes the lines out of what was sold; the CHECK refuses to go below nothing."""
    changed = []
    for line in in_lock_order(lines):
        row = (await session.execute(_GIVE_BACK, _parameters(line))).mappings().one()
        changed.append(inventory_row(row))
    return changed


async def read_rows(session: ReadSession, flight_ids: Iterable[FlightId]) -> list[InventoryRow]:
    found = await session.execute(_ROWS_OF_FLIGHTS, {"flight_ids": sorted(set(flight_ids))})
    return [inventory_row(row) for row in found.mappings()]


async def all_rows(
    session: ReadSession, since: Any, *, page_size: int = 2000
) -> AsyncIterator[list[InventoryRow]]:
    """Every row of flights that leave after `since`, in pages by key."""
    flight_id, cabin = "", ""
    while True:
        found = await session.execute(
            _ROWS_PAGE,
            {"flight_id": flight_id, "cabin": cabin, "since": since, "count": page_size},
        )
        page = [inventory_row(row) for row in found.mappings()]
        if page:
            yield page
            flight_id, cabin = page[-1].flight_id, page[-1].cabin.value
        if len(page) < page_size:
            return


def in_lock_order(lines: Sequence[SeatLine]) -> list[SeatLine]:
    """The one order in which inventory rows are locked, everywhere."""
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


def _parameters(line: SeatLine) -> dict[str, Any]:
    return {
        "flight_id": line.flight_id,
        "cabin": line.cabin.value,
        "position": line.position,
        "seats": line.seats,
    }


def _flight(row: RowMapping, cabins: tuple[Cabin, ...]) -> Flight:
    return Flight(
        FlightId(row["flight_id"]),
        row["carrier"],
        row["flight_number"],
        row["origin"],
        row["destination"],
        LocalTime(
            row["departing_local"], row["departing_time_zone"], row["departing_utc"].astimezone(UTC)
        ),
        LocalTime(
            row["arriving_local"], row["arriving_time_zone"], row["arriving_utc"].astimezone(UTC)
        ),
        cabins,
        row["version"],
    )


def _cabin(row: RowMapping) -> Cabin:
    return Cabin(
        CabinName(row["cabin"]),
        row["capacity"],
        tuple(
            FareClass(BookingClass(letter), limit, Money(fare, row["currency"]))
            for letter, limit, fare in zip(
                row["booking_classes"], row["limits"], row["fares"], strict=True
            )
        ),
    )
