"""The ceiling reducer: lowers ceilings once the seats held above a lowered limit are sold or released.

PostgreSQL checks a booking against its ceilings. Lowering a limit leaves the ceiling as it is, so that
seats held under the higher limit can be booked. While it stays there, more than the limit could be sold.
It is lowered to the seats taken or to the limit, whichever is more, if

- the epoch in which Redis counted the seats is current: the transaction proves it (E),
- the row has the version by which Redis counted, and
- Redis counts an expired hold until the journal has recorded its expiry.

So every hold that can still be booked was counted, or was granted within the limit. A sale, a
cancellation or a PATCH in between changes the version, and a later pass tries again.
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

ROWS_MAX: Final = 200  # counted by one script call
ROUNDS_MAX: Final = 50

_Key = tuple[FlightId, CabinName]


class CeilingReducer:
    def __init__(self, database: Database, epochs: CurrentEpoch) -> None:
        self._database = database
        self._epochs = epochs

    async def run_once(self) -> int:
        """Make one pass; return the number of rows whose ceilings were lowered."""
        lowered, after = 0, ("", "")
        for _ in range(ROUNDS_MAX):
            async with self._database.reading() as session:
                cabins = await inventory_store.cabins_with_excess_ceiling(session, after, ROWS_MAX)
            if cabins:
                lowered += await self._lower_ceilings(cabins)
                flight_id, cabin = cabins[-1]
                after = (flight_id, cabin.value)
            if len(cabins) < ROWS_MAX:
                break
        return lowered

    async def _lower_ceilings(self, cabins: Sequence[_Key]) -> int:
        async def count(life: Life) -> tuple[int, list[TakenSeats | None]]:
            return life.number, await life.seats.taken_seats(cabins)

        epoch, counted = await self._epochs.run(count)
        lowered = 0
        for (flight_id, cabin), taken in zip(cabins, counted, strict=True):
            if taken is not None:
                lowered += await self._lower_row(epoch, flight_id, cabin, taken)
        return lowered

    async def _lower_row(
        self, epoch: int, flight_id: FlightId, cabin: CabinName, taken: TakenSeats
    ) -> bool:
        async def work(session: WriteSession) -> bool:
            if not await prove_epoch(session, epoch):
                return False
            return await inventory_store.lower_ceilings(
                session, flight_id, cabin, taken.version, taken.seats
            )

        return await self._database.run_in_transaction(work)
