"""Lowers ceilings again, after a limit was lowered and what was held above it has been sold or let go.

A ceiling is what a booking is guarded by. It stays where a PATCH found it, so that what was held under a
higher limit can be booked; left there for good, it would guard less than it could. It is lowered to what
is taken or to the limit, whichever is more, under three conditions that together keep every promise:
the epoch in which Redis counted still lasts (E), the row's version is the one that Redis counted by, and
what Redis took back still counts until the journal has been told. So whatever can be booked afterwards
was counted, or was granted within the limit. A sale, a cancellation or a PATCH in between moves the
version, and this tries again later.
"""

from collections.abc import Sequence
from typing import Final

from app.hold.epochs.current import CurrentEpoch
from app.hold.journal.store import prove_epoch
from app.hold.redis.life import Life
from app.hold.redis.seats import TakenSeats
from app.ids import FlightId
from app.inventory import store as inventory_store
from app.inventory.model import CabinName
from app.storage.database import Database, WriteSession

ROWS_MAX: Final = 200  # that one script call counts
ROUNDS_MAX: Final = 50

_Key = tuple[FlightId, CabinName]


class CeilingReducer:
    def __init__(self, database: Database, epochs: CurrentEpoch) -> None:
        self._database = database
        self._epochs = epochs

    async def run_once(self) -> int:
        """How many rows have lower ceilings now."""
        tightened, after = 0, ("", "")
        for _ in range(ROUNDS_MAX):
            async with self._database.reading() as session:
                found = await inventory_store.cabins_with_excess_ceiling(session, after, ROWS_MAX)
            if found:
                tightened += await self._tighten(found)
                flight_id, cabin = found[-1]
                after = (flight_id, cabin.value)
            if len(found) < ROWS_MAX:
                break
        return tightened

    async def _tighten(self, cabins: Sequence[_Key]) -> int:
        async def count(life: Life) -> tuple[int, list[TakenSeats | None]]:
            return life.number, await life.seats.taken_seats(cabins)

        epoch, counted = await self._epochs.run(count)
        tightened = 0
        for (flight_id, cabin), taken in zip(cabins, counted, strict=True):
            if taken is not None:
                tightened += await self._lower(epoch, flight_id, cabin, taken)
        return tightened

    async def _lower(
        self, epoch: int, flight_id: FlightId, cabin: CabinName, taken: TakenSeats
    ) -> bool:
        async def work(session: WriteSession) -> bool:
            if not await prove_epoch(session, epoch):
                return False
            return await inventory_store.lower_ceilings(
                session, flight_id, cabin, taken.version, taken.seats
            )

        return await self._database.run_in_transaction(work)
