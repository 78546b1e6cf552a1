"""The SQL of search: reads flights, never counts seats. Takes a session."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

from sqlalchemy import String, bindparam, column, select, text, true

from app.inventory.model import Flight
from app.inventory.store import FLIGHT_COLUMNS, flights_from_rows
from app.inventory.tables import flights, inventory
from app.search.connections import DEFAULT_MINUTES, LONGEST_WAIT
from app.search.model import Path, Route, SearchQuery
from app.storage.database import ReadSession

DIRECT_MAX: Final = 500  # of one market and day: more than any market has
CONNECTIONS_MAX: Final = 200  # of one market and day: the fastest
FLIGHTS_MAX: Final = 16_384  # known by their value
LOCAL_BEHIND_UTC: Final = timedelta(days=1)  # no calendar is further behind

# First legs through ix_flights_departures, for each of them the second legs through ix_flights_market;
# their dates by UTC and a day more on either side, whatever calendar the station keeps. A limit of 0 is
# never begun. Each flight comes once, a first leg with the ids of those it connects to. What is LATERAL
# and limited stays a walk through an index by flight: no plan reads a table, or all dates, instead.
_FOUND = (
    text(
        """
        WITH connection AS MATERIALIZED (
            SELECT first.flight_id AS first_id, second.flight_id AS second_id
            FROM flights AS first
            JOIN inventory AS of_first
                ON of_first.flight_id = first.flight_id AND of_first.cabin = :cabin
            LEFT JOIN minimum_connection_times AS least ON least.station = first.destination
            CROSS JOIN LATERAL (
                SELECT onward.flight_id, onward.arriving_utc
                FROM flights AS onward
                JOIN inventory AS of_onward
                    ON of_onward.flight_id = onward.flight_id AND of_onward.cabin = :cabin
                    AND of_onward.currency = of_first.currency
                WHERE onward.origin = first.destination AND onward.destination = :destination
                    AND onward.departure_date BETWEEN
                        CAST(first.arriving_utc AT TIME ZONE 'UTC' AS date) - 1
                        AND CAST((first.arriving_utc + :longest_wait) AT TIME ZONE 'UTC' AS date) + 1
                    AND onward.departing_utc BETWEEN
                        first.arriving_utc
                            + coalesce(least.minutes, :default_minutes) * interval '1 minute'
                        AND first.arriving_utc + :longest_wait
                ORDER BY onward.arriving_utc, onward.flight_id
                LIMIT :connections_max) AS second
            WHERE first.origin = :origin AND first.departure_date = :departure_date
            ORDER BY second.arriving_utc - first.departing_utc, first.departing_utc,
                first.flight_id, second.flight_id
            LIMIT :connections_max)
        (SELECT flight_id, CAST(NULL AS text[]) AS onward FROM flights
         WHERE origin = :origin AND destination = :destination AND departure_date = :departure_date
         ORDER BY departing_utc, flight_id LIMIT :direct_max)
        UNION ALL SELECT first_id, array_agg(second_id) FROM connection GROUP BY first_id
        UNION ALL SELECT DISTINCT second_id, CAST(NULL AS text[]) FROM connection
        """
    )
    .columns(column("flight_id", String), column("onward"))  # a list, as the driver reads it
    .subquery("found")
)
_TERMS = (
    select(*FLIGHT_COLUMNS)
    .join_from(flights, inventory, flights.c.flight_id == inventory.c.flight_id)
    .where(flights.c.flight_id == _FOUND.c.flight_id, inventory.c.cabin == bindparam("cabin"))
    .limit(1)
    .lateral("terms")
)
_PATHS = (
    select(*_TERMS.c, _FOUND.c.onward)
    .select_from(_FOUND.join(_TERMS, true()))
    .order_by(_TERMS.c.departing_utc, _TERMS.c.flight_id)
)
_CONNECTION_TIMES = text(
    """
    SELECT station, minutes FROM minimum_connection_times
    WHERE station = ANY(CAST(:stations AS text[]))
    """
)

# Steps from pair to pair through ix_flights_market and touches a few entries of each, however many
# flights it has. A pair without a departure to come has no `soonest` and falls out.
_ROUTES = text(
    """
    WITH RECURSIVE pair AS (
        (SELECT origin, destination FROM flights
         WHERE (origin, destination) > (:origin, :destination)
         ORDER BY origin, destination LIMIT 1)
        UNION ALL
        SELECT further.origin, further.destination
        FROM pair CROSS JOIN LATERAL (
            SELECT origin, destination FROM flights
            WHERE (origin, destination) > (pair.origin, pair.destination)
            ORDER BY origin, destination LIMIT 1) AS further)
    SELECT pair.origin, pair.destination,
           soonest.departure_date AS first_date, latest.departure_date AS last_date
    FROM pair
    CROSS JOIN LATERAL (
        SELECT departure_date FROM flights
        WHERE origin = pair.origin AND destination = pair.destination
          AND departure_date >= :since AND departing_utc > :now
        ORDER BY departure_date LIMIT 1) AS soonest
    CROSS JOIN LATERAL (
        SELECT departure_date FROM flights
        WHERE origin = pair.origin AND destination = pair.destination
          AND departure_date >= :since AND departing_utc > :now
        ORDER BY departure_date DESC LIMIT 1) AS latest
    ORDER BY pair.origin, pair.destination
    LIMIT :count
    """
)


async def read_paths(session: ReadSession, query: SearchQuery) -> list[Path]:
    """The ways of a market that begin on the local date, departed ones too; in a fixed order.

    Flights without a connection, at most DIRECT_MAX, and the CONNECTIONS_MAX fastest connections that
    are priced in one currency. All flights have the asked cabin alone.
    """
    found = await session.execute(
        _PATHS,
        {
            "origin": query.origin,
            "destination": query.destination,
            "departure_date": query.departure_date,
            "cabin": query.cabin.value,
            "default_minutes": DEFAULT_MINUTES,
            "longest_wait": LONGEST_WAIT,
            "connections_max": CONNECTIONS_MAX * query.max_connections,
            "direct_max": DIRECT_MAX,
        },
    )
    rows = found.all()
    by_id = {flight.flight_id: _known(flight) for flight in flights_from_rows(rows)}
    paths: list[Path] = []
    for row in rows:
        flight, onward = by_id[row[0]], row[-1]
        if onward is not None:
            paths += ((flight, by_id[second_id]) for second_id in sorted(onward))
        elif (flight.origin, flight.destination) == (query.origin, query.destination):
            paths.append((flight,))
    return paths


@lru_cache(maxsize=FLIGHTS_MAX)
def _known(flight: Flight) -> Flight:
    """One object for a flight as long as it stays what it is, whatever day it is read for: what is
    worked out of it is found again without a look at its members.
    """
    return flight


async def read_connection_times(session: ReadSession, stations: Iterable[str]) -> dict[str, int]:
    """Minutes, for those of the stations that have a row."""
    found = await session.execute(_CONNECTION_TIMES, {"stations": sorted(set(stations))})
    return {row.station: row.minutes for row in found}


async def read_routes(
    session: ReadSession, now: datetime, after: tuple[str, str], count: int
) -> list[Route]:
    """Pairs with a departure to come, by origin and destination."""
    origin, destination = after
    found = await session.execute(
        _ROUTES,
        {
            "origin": origin,
            "destination": destination,
            "since": (now - LOCAL_BEHIND_UTC).date(),
            "now": now,
            "count": count,
        },
    )
    return [Route(row.origin, row.destination, row.first_date, row.last_date) for row in found]
