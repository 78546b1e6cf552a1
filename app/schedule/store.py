"""The SQL that writes flights, their inventory and connection times. Takes a session, never commits.

A change of a flight locks its `flights` row first (`lock`), then its inventory rows by cabin, and then
writes to the outbox. A sale locks inventory rows only, so a sale and a change never deadlock. The version
of an inventory row only grows, also when the flight is replaced, since Redis accepts newer versions only.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from app.ids import FlightId
from app.inventory.model import Cabin, Flight, InventoryRow
from app.inventory.store import read_flights, read_rows
from app.storage.database import ReadSession, WriteSession

_LOCK_FLIGHT = text("SELECT event_sequence FROM flights WHERE flight_id = :flight_id FOR UPDATE")
_LOCK_INVENTORY = text(
    """
    SELECT sold_total, version FROM inventory WHERE flight_id = :flight_id
    ORDER BY flight_id, cabin FOR UPDATE
    """
)
_INSERT_FLIGHTS = text(
    """
    INSERT INTO flights (
        flight_id, carrier, flight_number, origin, destination, departure_date,
        departing_local, departing_time_zone, departing_utc,
        arriving_local, arriving_time_zone, arriving_utc)
    SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS t(
        flight_id text, carrier text, flight_number text, origin text, destination text,
        departure_date date,
        departing_local timestamp, departing_time_zone text, departing_utc timestamptz,
        arriving_local timestamp, arriving_time_zone text, arriving_utc timestamptz)
    ORDER BY flight_id
    ON CONFLICT DO NOTHING
    RETURNING flight_id
    """
)
_INSERT_INVENTORY = text(
    """
    INSERT INTO inventory (
        flight_id, cabin, rank, capacity, booking_classes, fares, currency,
        limits, ceilings, sold, ceiling_total, version)
    SELECT flight_id, cabin, rank, capacity, booking_classes, fares, currency,
           limits, limits, array_fill(0, ARRAY[cardinality(limits)]), limits[1], version
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS t(
        flight_id text, cabin text, rank int, capacity int, booking_classes text[],
        fares bigint[], currency text, limits int[], version bigint)
    """
)
# Ceilings are never lowered here, so that seats held under a higher limit can still be booked.
_CHANGE_CABIN = text(
    """
    WITH raised AS (
        SELECT array_agg(greatest(c, l) ORDER BY j) AS ceilings
        FROM inventory,
             unnest(ceilings, CAST(:limits AS int[])) WITH ORDINALITY AS t(c, l, j)
        WHERE flight_id = :flight_id AND cabin = :cabin)
    UPDATE inventory SET
        capacity = :capacity, limits = CAST(:limits AS int[]), fares = CAST(:fares AS bigint[]),
        currency = :currency, ceilings = raised.ceilings, ceiling_total = raised.ceilings[1],
        version = version + 1
    FROM raised
    WHERE flight_id = :flight_id AND cabin = :cabin
    """
)
_COUNT_CHANGE = text(
    """
    UPDATE flights SET version = version + 1, event_sequence = event_sequence + 1
    WHERE flight_id = :flight_id
    """
)
_REPLACE_FLIGHT = text(
    """
    UPDATE flights SET
        carrier = :carrier, flight_number = :flight_number,
        origin = :origin, destination = :destination, departure_date = :departure_date,
        departing_local = :departing_local, departing_time_zone = :departing_time_zone,
        departing_utc = :departing_utc, arriving_local = :arriving_local,
        arriving_time_zone = :arriving_time_zone, arriving_utc = :arriving_utc,
        version = version + 1, event_sequence = event_sequence + 1
    WHERE flight_id = :flight_id
    """
)
_KNOWN = text("SELECT flight_id FROM flights WHERE flight_id = ANY(CAST(:flight_ids AS text[]))")
_ADD_CONNECTION_TIMES = text(
    """
    INSERT INTO minimum_connection_times (station, minutes)
    SELECT key, CAST(value AS int) FROM jsonb_each_text(CAST(:minutes AS jsonb))
    ON CONFLICT DO NOTHING
    """
)
_DELETE_INVENTORY = text("DELETE FROM inventory WHERE flight_id = :flight_id AND sold_total = 0")


@dataclass(frozen=True, slots=True)
class LockedFlight:
    """A flight whose rows are locked until the transaction ends."""

    flight: Flight
    event_sequence: int
    sold_total: int
    inventory_version: int  # the highest of its rows


async def lock(session: WriteSession, flight_id: FlightId) -> LockedFlight | None:
    found = (await session.execute(_LOCK_FLIGHT, {"flight_id": flight_id})).one_or_none()
    if found is None:
        return None
    rows = (await session.execute(_LOCK_INVENTORY, {"flight_id": flight_id})).all()
    flight = (await read_flights(session, [flight_id]))[flight_id]
    return LockedFlight(
        flight,
        found.event_sequence,
        sum(row.sold_total for row in rows),
        max(row.version for row in rows),
    )


async def known_ids(session: ReadSession, flight_ids: Sequence[FlightId]) -> set[FlightId]:
    """The ids that have a flight."""
    found = await session.execute(_KNOWN, {"flight_ids": list(flight_ids)})
    return {FlightId(flight_id) for flight_id in found.scalars()}


async def insert(session: WriteSession, flights: Sequence[Flight]) -> set[FlightId]:
    """Insert the flights whose ids are new, with one statement for each table; return those ids."""
    added = await session.execute(
        _INSERT_FLIGHTS, {"rows": json.dumps([_flight_row(flight) for flight in flights])}
    )
    new = {FlightId(flight_id) for flight_id in added.scalars()}
    await _insert_cabins(session, [flight for flight in flights if flight.flight_id in new], 1)
    return new


async def change(
    session: WriteSession, flight_id: FlightId, cabins: Iterable[Cabin]
) -> list[InventoryRow]:
    """Write capacities, limits and fares of some cabins of a locked flight; return all its rows."""
    for cabin in sorted(cabins, key=lambda cabin: cabin.cabin.value):
        await session.execute(
            _CHANGE_CABIN,
            {
                "flight_id": flight_id,
                "cabin": cabin.cabin.value,
                "capacity": cabin.capacity,
                "limits": [fare_class.limit for fare_class in cabin.booking_classes],
                "fares": [fare_class.fare.minor for fare_class in cabin.booking_classes],
                "currency": cabin.booking_classes[0].fare.currency,
            },
        )
    await session.execute(_COUNT_CHANGE, {"flight_id": flight_id})
    return await read_rows(session, [flight_id])


async def replace(session: WriteSession, locked: LockedFlight, flight: Flight) -> None:
    """Replace a locked flight of which nothing is sold."""
    assert locked.sold_total == 0, "a flight with sold seats is never replaced"
    await session.execute(_REPLACE_FLIGHT, _flight_values(flight))
    await session.execute(_DELETE_INVENTORY, {"flight_id": flight.flight_id})
    await _insert_cabins(session, [flight], locked.inventory_version + 1)


async def add_connection_times(session: WriteSession, minutes: Mapping[str, int]) -> None:
    """Insert minimum connection times of the stations that have none yet."""
    await session.execute(_ADD_CONNECTION_TIMES, {"minutes": json.dumps(dict(minutes))})


async def _insert_cabins(session: WriteSession, flights: Sequence[Flight], version: int) -> None:
    rows = [
        _cabin_row(flight, rank, cabin, version)
        for flight in flights
        for rank, cabin in enumerate(flight.cabins)
    ]
    if rows:
        await session.execute(_INSERT_INVENTORY, {"rows": json.dumps(rows)})


def _flight_values(flight: Flight) -> dict[str, Any]:
    return {
        "flight_id": flight.flight_id,
        "carrier": flight.carrier,
        "flight_number": flight.flight_number,
        "origin": flight.origin,
        "destination": flight.destination,
        "departure_date": flight.departing_at.local.date(),
        "departing_local": flight.departing_at.local,
        "departing_time_zone": flight.departing_at.time_zone,
        "departing_utc": flight.departing_at.utc,
        "arriving_local": flight.arriving_at.local,
        "arriving_time_zone": flight.arriving_at.time_zone,
        "arriving_utc": flight.arriving_at.utc,
    }


def _flight_row(flight: Flight) -> dict[str, str]:
    return {name: str(value) for name, value in _flight_values(flight).items()}


def _cabin_row(flight: Flight, rank: int, cabin: Cabin, version: int) -> dict[str, Any]:
    classes = cabin.booking_classes
    return {
        "flight_id": flight.flight_id,
        "cabin": cabin.cabin.value,
        "rank": rank,
        "capacity": cabin.capacity,
        "booking_classes": [fare_class.booking_class for fare_class in classes],
        "fares": [fare_class.fare.minor for fare_class in classes],
        "currency": classes[0].fare.currency,
        "limits": [fare_class.limit for fare_class in classes],
        "version": version,
    }
