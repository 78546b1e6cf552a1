"""Keeps the sample network topped up: every flight from today to sixty days ahead.

"Today" is each origin's own. Only what is missing is added, flights through the importer; a flight that
was changed, or was imported under the id of a sample flight, stays as it is, and so does a connection time.
"""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from app.clock import Clock
from app.dev.network import CONNECTION_MINUTES, Service, services
from app.ids import FlightId
from app.schedule.columns import HEADER
from app.schedule.importer import Apply, Progress, import_lines
from app.schedule.store import add_connection_times, known_ids
from app.storage.database import Database

DAYS_AHEAD: Final = 60
_IDS_PER_QUERY = 5000


async def top_up(database: Database, apply: Apply, clock: Clock, progress: Progress) -> int:
    """Returns how many flights were added. A complete network costs a few queries."""
    await database.run_in_transaction(
        lambda session: add_connection_times(session, CONNECTION_MINUTES)
    )
    missing = await _missing(database, list(_wanted(clock)))
    if not missing:
        return 0

    def lines() -> Iterator[str]:
        yield ",".join(HEADER) + "\n"
        for service, day in missing:
            yield service.line(day)

    size = sum(len(line) for line in lines())
    return (await import_lines(database, lines, size, apply, progress)).added


def _wanted(clock: Clock) -> Iterator[tuple[Service, date]]:
    now = clock()
    for service in services():
        today = now.astimezone(ZoneInfo(service.origin.time_zone)).date()
        for ahead in range(DAYS_AHEAD + 1):
            yield service, today + timedelta(days=ahead)


async def _missing(
    database: Database, wanted: Sequence[tuple[Service, date]]
) -> list[tuple[Service, date]]:
    by_id = {service.flight_id(day): (service, day) for service, day in wanted}
    ids = list(by_id)
    known: set[FlightId] = set()
    async with database.reading() as session:
        for start in range(0, len(ids), _IDS_PER_QUERY):
            known |= await known_ids(session, ids[start : start + _IDS_PER_QUERY])
    return [by_id[flight_id] for flight_id in ids if flight_id not in known]
