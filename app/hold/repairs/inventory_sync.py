"""Brings to Redis what a process that ended did not: rows of Postgres that changed, by their version.

Every change of what is sold or may be sold writes a fact in its transaction, and the relay gives each
fact its place in one order after the commit. Following that order misses nothing, and taking a row
over twice is nothing. What has no fact, a flight that is new, is found by the first who asks for it.

What was followed in an epoch that is over may have gone to a server that nobody believes any more, too
late for the rebuild to read it: in another epoch the latest facts are followed once more.
"""

from typing import Any, Final

from app.hold.epochs.current import CurrentEpoch
from app.hold.redis.life import Life
from app.ids import FlightId
from app.inventory import store as inventory_store
from app.outbox import store as outbox
from app.outbox.model import Entry
from app.storage.database import Database

LOOK_BACK: Final = 2000  # facts, at the start and in another epoch
FACTS_MAX: Final = 500
ROUNDS_MAX: Final = 50


class InventorySync:
    def __init__(self, database: Database, epochs: CurrentEpoch) -> None:
        self._database = database
        self._epochs = epochs
        self._epoch: int | None = None  # in which facts are followed
        self._position: int | None = None

    async def run_once(self) -> int:
        """How many facts were followed."""
        followed = 0
        for _ in range(ROUNDS_MAX):
            epoch = await self._epochs.number()
            if epoch != self._epoch:
                self._epoch, self._position = epoch, None
            entries = await self._next()
            if not entries:
                break
            if await self._follow(entries) == epoch:
                self._position = entries[-1].position
                followed += len(entries)
        return followed

    async def _next(self) -> list[Entry]:
        async with self._database.reading() as session:
            if self._position is None:
                self._position = max(0, await outbox.last_position(session) - LOOK_BACK)
            return await outbox.numbered_after(session, self._position, FACTS_MAX)

    async def _follow(self, entries: list[Entry]) -> int:
        """In which epoch."""
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
