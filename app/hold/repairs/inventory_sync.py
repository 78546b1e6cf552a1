"""The inventory sync: brings inventory rows that changed in PostgreSQL to Redis, by their version.

A process sends the rows itself after a change; the sync does it for a process that has failed. Each
change of sales or limits writes an event in its transaction, and the relay gives each event a position
after the commit. So reading events by position misses no change, and sending a row twice has no effect.
A new flight has no event; the first request for it loads its rows.

Rows that were sent in an earlier epoch may have reached a server that has been replaced, too late for
the rebuild to read them. So in each new epoch the latest events are read once more.
"""

from typing import Any, Final

from app.hold.epochs.current import CurrentEpoch
from app.hold.redis.life import Life
from app.ids import FlightId
from app.inventory import store as inventory_store
from app.outbox import store as outbox
from app.outbox.model import Entry
from app.storage.database import Database

LOOK_BACK: Final = 2000  # events read again at the start and in a new epoch
EVENTS_MAX: Final = 500
ROUNDS_MAX: Final = 50


class InventorySync:
    def __init__(self, database: Database, epochs: CurrentEpoch) -> None:
        self._database = database
        self._epochs = epochs
        self._epoch: int | None = None  # to which `_position` belongs
        self._position: int | None = None  # of the last event whose rows were sent

    async def run_once(self) -> int:
        """Make one pass; return the number of events whose rows were sent."""
        applied = 0
        for _ in range(ROUNDS_MAX):
            epoch = await self._epochs.number()
            if epoch != self._epoch:
                self._epoch, self._position = epoch, None
            entries = await self._next_entries()
            if not entries:
                break
            if await self._apply(entries) == epoch:
                self._position = entries[-1].position
                applied += len(entries)
        return applied

    async def _next_entries(self) -> list[Entry]:
        async with self._database.reading() as session:
            if self._position is None:
                self._position = max(0, await outbox.last_position(session) - LOOK_BACK)
            return await outbox.numbered_after(session, self._position, EVENTS_MAX)

    async def _apply(self, entries: list[Entry]) -> int:
        """Send the current rows of the events' flights to Redis; return the epoch."""
        flight_ids = {flight_id for entry in entries for flight_id in _flights_of(entry)}
        async with self._database.reading() as session:
            rows = await inventory_store.read_rows(session, flight_ids)

        async def apply(life: Life) -> int:
            if rows:
                await life.seats.apply(rows)
            return life.number

        return await self._epochs.run(apply)


def _flights_of(entry: Entry) -> list[FlightId]:
    data: Any = entry.event.data
    if entry.event.aggregate.type == "flight":
        return [FlightId(entry.event.aggregate.id)]
    return [FlightId(segment["flight_id"]) for segment in data.get("segments", ())]
