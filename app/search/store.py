"""The SQL of search: reads flights, never counts seats. Takes a session."""

from datetime import date, datetime, timedelta

from sqlalchemy import select, text

from app.inventory.model import CabinName, Flight
from app.inventory.store import FLIGHT_COLUMNS, flights_from_rows
from app.inventory.tables import flights, inventory
from app.search.model import Route
from app.storage.database import ReadSession

FLIGHTS_MAX = 500  # of one market and day: more than any market has
_LOCAL_BEHIND_UTC = timedelta(days=1)  # no calendar is further behind

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


async def read_day(
    session: ReadSession, origin: str, destination: str, departure_date: date, cabin: CabinName
) -> list[Flight]:
    """A market's flights of one local date, departed ones too, each with the asked cabin alone.

    In the order of departure; at most FLIGHTS_MAX.
    """
    rows = await session.execute(
        select(*FLIGHT_COLUMNS)
        .join_from(flights, inventory, flights.c.flight_id == inventory.c.flight_id)
        .where(
            flights.c.origin == origin,
            flights.c.destination == destination,
            flights.c.departure_date == departure_date,
            inventory.c.cabin == cabin.value,
        )
        .order_by(flights.c.departing_utc, flights.c.flight_id)
        .limit(FLIGHTS_MAX)
    )
    return flights_from_rows(rows.mappings())


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
            "since": (now - _LOCAL_BEHIND_UTC).date(),
            "now": now,
            "count": count,
        },
    )
    return [Route(row.origin, row.destination, row.first_date, row.last_date) for row in found]
