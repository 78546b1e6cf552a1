"""Flights' terms kept close by: bounded, and never trusted alone.

A cached flight may be older than the row. Whoever grants by it names its version, and the hold script
refuses another one (`Stale`), upon which the flight is read again; whoever would refuse by it reads it
again first.
"""

from collections import OrderedDict
from collections.abc import Iterable

from app.ids import FlightId
from app.inventory import store
from app.inventory.model import Flight
from app.storage.database import Database

FLIGHTS_MAX = 20_000


class Catalogue:
    def __init__(self, database: Database, *, flights_max: int = FLIGHTS_MAX) -> None:
        self._database = database
        self._flights_max = flights_max
        self._flights: OrderedDict[FlightId, Flight] = OrderedDict()

    async def flights(self, flight_ids: Iterable[FlightId]) -> dict[FlightId, Flight]:
        """Those of the flights that exist, perhaps as they were a while ago."""
        wanted = set(flight_ids)
        known = {flight_id: self._flights[flight_id] for flight_id in wanted & self._flights.keys()}
        for flight_id in known:
            self._flights.move_to_end(flight_id)
        missing = wanted - known.keys()
        return known | await self.read_again(missing) if missing else known

    async def read_again(self, flight_ids: Iterable[FlightId]) -> dict[FlightId, Flight]:
        """The flights as their rows are now."""
        wanted = set(flight_ids)
        async with self._database.reading() as session:
            found = await store.read_flights(session, wanted)
        for flight_id in wanted:
            self._flights.pop(flight_id, None)
        self._flights.update(found)
        while len(self._flights) > self._flights_max:
            self._flights.popitem(last=False)
        return found
