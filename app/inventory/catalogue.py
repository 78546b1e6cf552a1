"""A bounded cache of flights: their times, classes, fares and limits.

A cached flight may be older than its row, so it never decides alone. A caller that grants a hold by it
names its version; the hold script refuses any other version (`Stale`), and the caller reads the flight
again. A caller that would refuse a request by it reads the flight again first.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from app.concurrency.coalescer import BATCH_MAX, Coalescer
from app.ids import FlightId
from app.inventory import store
from app.inventory.model import Flight
from app.storage.database import Database

FLIGHTS_MAX = (
    20_000  # measured: 0.8 KiB each, 16 MiB when full; more than are on sale in a busy hour
)


class Catalogue:
    def __init__(
        self,
        database: Database,
        *,
        flights_max: int = FLIGHTS_MAX,
        batch_max: int = BATCH_MAX,
    ) -> None:
        self._database = database
        self._flights_max = flights_max
        self._flights: OrderedDict[FlightId, Flight] = OrderedDict()
        self._reads: Coalescer[FlightId, Flight | None] = Coalescer(
            self._read, key=lambda _: object(), batch_max=batch_max
        )

    async def flights(self, flight_ids: Iterable[FlightId]) -> dict[FlightId, Flight]:
        """The flights that exist, perhaps in an older version than their rows have."""
        found: dict[FlightId, Flight] = {}
        missing: list[FlightId] = []
        for flight_id in flight_ids:
            flight = self._flights.get(flight_id)
            if flight is None:
                missing.append(flight_id)
            else:
                found[flight_id] = flight
                self._flights.move_to_end(flight_id)
        return found | await self.read_again(missing) if missing else found

    async def read_again(self, flight_ids: Iterable[FlightId]) -> dict[FlightId, Flight]:
        """The flights that exist, as their rows are now."""
        wanted = sorted(set(flight_ids))
        read = await asyncio.gather(*map(self._reads.submit, wanted))
        return {flight.flight_id: flight for flight in read if flight is not None}

    async def _read(self, flight_ids: Sequence[FlightId]) -> list[Flight | Exception | None]:
        async with self._database.reading() as session:
            found = await store.read_flights(session, set(flight_ids))
        for flight_id in flight_ids:
            before, now = self._flights.pop(flight_id, None), found.get(flight_id)
            # An older reading may finish after a newer one.
            newest = before if before and now and before.version > now.version else now
            if newest is not None:
                self._flights[flight_id] = newest
        while len(self._flights) > self._flights_max:
            self._flights.popitem(last=False)
        return [found.get(flight_id) for flight_id in flight_ids]
