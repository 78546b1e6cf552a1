"""One flight's ledger: every unit's way, and the sums that it comes to, of one moment.

A page is a reading, not a record: an entry that commits late may carry an instant before a cursor that
was handed out, and is then seen by the next who reads from the start.
"""

from collections.abc import Mapping
from typing import Final

from app.errors import NotFound
from app.ids import FlightId
from app.inventory import store as inventory_store
from app.inventory.model import CabinName, Flight, InventoryRow
from app.ledger import store
from app.ledger.model import CabinTotals, ClassTotals, LedgerPage, Position
from app.storage.database import Database

_BEGINNING: Final[Position] = (-1, "", 0, 0)
_Sums = Mapping[tuple[CabinName, int], tuple[int, int, int]]


class LedgerService:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, flight_id: FlightId, after: Position | None, limit: int) -> LedgerPage:
        """Raises NotFound."""
        async with self._database.snapshot() as session:
            flights = await inventory_store.read_flights(session, [flight_id])
            if flight_id not in flights:
                raise NotFound("There is no flight with this id.")
            rows = await inventory_store.read_rows(session, [flight_id])
            await store.gather(session)
            sums = await store.read_sums(session, flight_id)
            found = await store.read_entries(session, flight_id, after or _BEGINNING, limit + 1)
        entries = found[:limit]
        return LedgerPage(
            flight_id,
            entries,
            _totals(flights[flight_id], rows, sums),
            entries[-1].position if len(found) > limit else None,
        )


def _totals(flight: Flight, rows: list[InventoryRow], sums: _Sums) -> list[CabinTotals]:
    of_cabin = {row.cabin: row for row in rows}
    totals = []
    for cabin in flight.cabins:
        row = of_cabin[cabin.cabin]
        of_class = [
            sums.get((cabin.cabin, position), (0, 0, 0))
            for position in range(1, len(row.limits) + 1)
        ]
        held, confirmed, cancelled = (sum(one) for one in zip(*of_class, strict=True))
        classes = tuple(
            ClassTotals(fare_class.booking_class, limit, of_one[0], sold)
            for fare_class, limit, of_one, sold in zip(
                cabin.booking_classes, row.limits, of_class, row.sold, strict=True
            )
        )
        totals.append(
            CabinTotals(
                cabin.cabin, row.limits[0], sum(row.sold), held, confirmed, cancelled, classes
            )
        )
    return totals
