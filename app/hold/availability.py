"""The live numbers of flights, and how changed rows of Postgres reach them.

What search shows, what an administrator's change is answered with. Taking rows over is best effort:
the rows carry versions, so that a call lost here is made good by any later one.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

import structlog

from app.errors import DomainError, HoldStoreUnavailable
from app.hold.epochs.current import CurrentEpoch
from app.hold.journal import store as journal
from app.hold.redis.life import Life
from app.ids import FlightId
from app.inventory.model import CabinCounts, CabinName, Flight, InventoryRow
from app.inventory.store import read_rows
from app.storage.database import Database, WriteSession

_log = structlog.get_logger(__name__)

CHUNK: Final = 500


class LiveAvailability:
    def __init__(self, database: Database, epochs: CurrentEpoch) -> None:
        self._database = database
        self._epochs = epochs

    async def counts(
        self, cabins: Sequence[tuple[FlightId, CabinName]]
    ) -> list[CabinCounts | None]:
        """All in one script call, in order; None for a cabin that does not exist.

        While no epoch is open Postgres answers: what is sold is known, what is held is not, and no
        hold can be placed on the strength of it.
        """
        try:
            found = await self._epochs.run(lambda life: life.seats.counts(cabins))
            unknown = {cabins[i][0] for i, counts in enumerate(found) if counts is None}
            if unknown and await self._bring_up_to_date(unknown):
                found = await self._epochs.run(lambda life: life.seats.counts(cabins))
        except HoldStoreUnavailable:
            return await self._counts_without_holds(cabins)
        return found

    async def _bring_up_to_date(self, flight_ids: Collection[FlightId]) -> bool:
        """Flights that are in Postgres and did not reach Redis; False where there are none."""
        async with self._database.reading() as session:
            rows = await read_rows(session, flight_ids)
        await self.apply(rows)
        return bool(rows)

    async def _counts_without_holds(
        self, cabins: Sequence[tuple[FlightId, CabinName]]
    ) -> list[CabinCounts | None]:
        async with self._database.reading() as session:
            rows = await read_rows(session, {flight_id for flight_id, _ in cabins})
        known = {
            (row.flight_id, row.cabin): CabinCounts(
                row.limits, row.sold, (0,) * len(row.sold), row.flight_version
            )
            for row in rows
        }
        return [known.get(cabin) for cabin in cabins]

    async def availability(
        self, flights: Iterable[Flight]
    ) -> Mapping[FlightId, Mapping[CabinName, CabinCounts]]:
        """Cabins whose layout in Redis is not the flight's are left out."""
        pairs = [(flight, cabin) for flight in flights for cabin in flight.cabins]
        found = await self.counts([(flight.flight_id, cabin.cabin) for flight, cabin in pairs])
        answer: dict[FlightId, dict[CabinName, CabinCounts]] = {}
        for (flight, cabin), counts in zip(pairs, found, strict=True):
            of_flight = answer.setdefault(flight.flight_id, {})
            if counts is not None and len(counts.limits) == len(cabin.booking_classes):
                of_flight[cabin.cabin] = counts
        return answer

    async def raise_write_barrier(self, flight_id: FlightId, name: str) -> int | None:
        """None where seats of the flight are held; else the epoch in which none can be, for ten
        seconds at most, until an `apply` lifts the barrier of this name.
        """

        async def raise_barrier(life: Life) -> int | None:
            return life.number if await life.seats.raise_write_barrier(flight_id, name) else None

        return await self._epochs.run(raise_barrier)

    async def apply(self, rows: Sequence[InventoryRow], *, lift_barrier: str = "") -> None:
        """Takes the rows over where they are newer; never raises."""
        for start in range(0, len(rows), CHUNK):
            chunk = rows[start : start + CHUNK]

            async def apply(life: Life, chunk: Sequence[InventoryRow] = chunk) -> None:
                await life.seats.apply(chunk, lift_barrier=lift_barrier)

            try:
                await self._epochs.run(apply)
            except DomainError as error:
                _log.warning(
                    "inventory_not_applied", count=len(chunk), error_type=type(error).__name__
                )


async def prove_barrier(session: WriteSession, epoch: int) -> bool:
    """Whether the epoch in which a write barrier was raised is still open, until the transaction ends."""
    return await journal.prove_epoch(session, epoch)
