"""What bookings and search need of the oracle: a hold that does not run out under them, and numbers.

A booking keeps its hold by the lock on its row, from the proof to the end of its transaction; so there
is nothing to pin before, to finish after, or to settle where it is not known how it ended.
"""

from collections.abc import Sequence

from app.errors import NotFound
from app.hold.availability import LiveAvailability
from app.hold.errors import HoldExpired, HoldNotActive
from app.hold.model import JournalState
from app.hold.pinning import PinProof, Pins
from app.ids import FlightId, HoldId
from app.inventory.model import CabinCounts, CabinName, InventoryRow
from app.storage.database import Database, WriteSession
from tests.faults.oracle import rows
from tests.faults.oracle.holds import EPOCH


class PostgresPins(Pins):
    def __init__(self, database: Database) -> None:
        self._database = database

    async def pin(self, hold_id: HoldId) -> PinProof:
        async def look(session: WriteSession) -> rows.LockedHold | None:
            await rows.end_due(session, hold_ids=[hold_id])
            return await rows.lock_hold(session, hold_id)

        found = await self._database.run_in_transaction(look)
        if found is None:
            raise NotFound("There is no such hold.")
        match JournalState(found.state):
            case JournalState.HELD:
                return PinProof(hold_id, EPOCH, found.fence)
            case JournalState.EXPIRED:
                raise HoldExpired
            case _:
                raise HoldNotActive("The hold is booked or released.")

    async def prove(self, session: WriteSession, proof: PinProof) -> bool:
        found = await rows.lock_hold(session, proof.hold_id)
        if found is not None and found.state == JournalState.HELD and found.is_due:
            raise HoldExpired
        return True

    async def finish(self, hold_id: HoldId, rows: Sequence[InventoryRow]) -> None:
        """The sale is counted where it was made."""

    async def settle(self, hold_id: HoldId) -> None:
        """Postgres rolled back, or did not."""


class PostgresSeats(LiveAvailability):
    def __init__(self, database: Database) -> None:
        self._database = database

    async def counts(
        self, cabins: Sequence[tuple[FlightId, CabinName]]
    ) -> list[CabinCounts | None]:
        flights = {flight_id for flight_id, _ in cabins}

        async def count(session: WriteSession) -> dict[rows.Cabin, rows.Seats]:
            await rows.end_due(session, flights=flights)
            return await rows.seats(session, flights)

        found = await self._database.run_in_transaction(count)
        return [found[cabin].counts if cabin in found else None for cabin in cabins]

    async def raise_write_barrier(self, flight_id: FlightId, name: str) -> int | None:
        """None where seats are held. The oracle is not asked to change a flight that is being sold."""
        async with self._database.reading() as session:
            found = await rows.seats(session, {flight_id})
        return None if any(any(cabin.counts.held) for cabin in found.values()) else EPOCH

    async def apply(self, rows: Sequence[InventoryRow], *, lift_barrier: str = "") -> None:
        """The rows are where they are counted."""
