"""The paths of a market on a day, cached briefly: schedules change seldom and are searched often.

A cached path never decides a sale. A search compares the version of each flight with the version of the
live numbers, and reads a day again that has an older one; a hold refuses terms of another version. A new
flight is found at once by the process that stored it, and by the others within FRESH_SECONDS or at the
next search that reloads the day.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from app.concurrency.background import Background
from app.concurrency.cache import Cache
from app.inventory.model import Flight
from app.search import store
from app.search.connections import sensible
from app.search.model import Path, SearchQuery
from app.search.quoting import Counts
from app.storage.database import Database

FRESH_SECONDS: Final = 1.0
STALE_SECONDS: Final = 10.0
PATHS_MAX: Final = 50_000  # of all days kept; each has one or two flights
_DAYS_ONWARD: Final = range(
    -1, 5
)  # a second leg leaves so many days after the first, by its calendar

_Key = tuple[str, ...]


class Itineraries:
    def __init__(self, database: Database, background: Background) -> None:
        self._database = database
        self._days: Cache[_Key, Sequence[Path]] = Cache(
            background,
            fresh_seconds=FRESH_SECONDS,
            stale_seconds=STALE_SECONDS,
            weight_max=PATHS_MAX,
            weigh=lambda paths: len(paths) + 1,
        )

    async def of_day(self, query: SearchQuery) -> Sequence[Path]:
        """Sensible ways in a fixed order, departed ones too. The way back is a query of its own."""

        async def load() -> Sequence[Path]:
            async with self._database.reading() as session:
                return sensible(await store.read_paths(session, query))

        return await self._days.get(_key(query), _tags(query), load)

    def outdated(self, query: SearchQuery, paths: Sequence[Path], counts: Counts) -> bool:
        """Whether a flight of the day has other terms by now; the day is read again then."""
        for path in paths:
            for flight in path:
                for of_cabin in counts.get(flight.flight_id, {}).values():
                    if (of_cabin.flight_version or 0) > flight.version:
                        self._days.drop(_key(query))
                        return True
        return False

    def changed(self, flight: Flight) -> None:
        """Days that the flight may belong to are read again."""
        day = flight.departing_at.local.date()
        self._days.invalidate(("from", flight.origin, day))
        self._days.invalidate(("to", flight.destination, day))


def _key(query: SearchQuery) -> _Key:
    return (
        query.origin,
        query.destination,
        query.departure_date.isoformat(),
        query.cabin.value,
        str(query.max_connections),
    )


def _tags(query: SearchQuery) -> list[tuple[object, ...]]:
    day = query.departure_date
    onward = [
        ("to", query.destination, day + timedelta(days))
        for days in _DAYS_ONWARD
        if -day.toordinal() < days <= day.max.toordinal() - day.toordinal()
    ]
    return [("from", query.origin, day), *onward]
