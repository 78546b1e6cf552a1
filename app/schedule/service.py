"""Puts dated flights, and changes their limits and fares while they are being sold.

A change is committed in PostgreSQL first, in one transaction with its event. Then the rows go to Redis,
which accepts newer versions; the inventory sync delivers them if this process fails. A flight's shape
(times, stations, carrier, classes) changes only while no seat is held or sold: a write barrier in Redis
blocks new holds, and the transaction proves that the barrier's epoch is current and that nothing is sold.
"""

import asyncio
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from app.clock import Clock
from app.errors import DatabaseUnavailable, HoldStoreUnavailable, NotFound, Overloaded
from app.hold.availability import prove_barrier
from app.ids import FlightId
from app.inventory.model import CabinCounts, CabinName, Flight, InventoryRow
from app.inventory.store import read_flights, read_rows
from app.outbox import store as outbox
from app.outbox.model import EventType, Fact
from app.schedule import store
from app.schedule.changes import CabinChange, with_changes
from app.schedule.errors import FlightInUse
from app.schedule.model import same_shape
from app.schedule.store import LockedFlight
from app.storage.database import Database, WriteSession

TRIES_MAX = 3
BARRIER_TRUSTED_SECONDS = 5.0  # half of the barrier's lifetime; the rest is for the commit

Counts = Mapping[CabinName, CabinCounts]


class HoldInventory(Protocol):
    """What the schedule needs of the hold store."""

    async def raise_write_barrier(self, flight_id: FlightId, name: str) -> int | None:
        """Block new holds on the flight, for 10 seconds or until `apply` lifts the barrier of this name.

        Returns the epoch of the barrier, or None if seats of the flight are held.
        """

    async def apply(self, rows: Sequence[InventoryRow], *, lift_barrier: str = "") -> None:
        """Send the rows to Redis, which accepts those with a newer version. Never raises."""

    async def availability(self, flights: Sequence[Flight]) -> Mapping[FlightId, Counts]:
        """The live counts, without the cabins that the hold store does not know (yet)."""


class ScheduleService:
    def __init__(
        self,
        database: Database,
        hold_store: HoldInventory,
        clock: Clock,
        on_change: Callable[[Flight], None] = lambda _: None,
    ) -> None:
        """`on_change` is called with the new flight after each change that this process makes."""
        self._database = database
        self._hold_store = hold_store
        self._clock = clock
        self._on_change = on_change

    async def get(self, flight_id: FlightId) -> Flight:
        async with self._database.reading() as session:
            found = await read_flights(session, [flight_id])
        if flight_id not in found:
            raise _no_such_flight()
        return found[flight_id]

    async def put(self, flight: Flight) -> tuple[Flight, bool]:
        """Create or change a flight; return it and whether it is new. Raises FlightInUse."""
        stored, is_new = await self._put(flight)
        self._on_change(stored)
        return stored, is_new

    async def patch(
        self, flight_id: FlightId, changes: Sequence[CabinChange]
    ) -> tuple[Flight, Counts]:
        """Change limits and fares; return the flight and its live counts. Raises NotFound, ValidationFailed."""

        async def work(session: WriteSession) -> tuple[Flight, list[InventoryRow]]:
            locked = await store.lock(session, flight_id)
            if locked is None:
                raise _no_such_flight()
            return await self._change(session, locked, with_changes(locked.flight, changes))

        flight, rows = await self._database.run_in_transaction(work)
        await self._hold_store.apply(rows)
        self._on_change(flight)
        return flight, await self._counts(flight, rows)

    async def _put(self, flight: Flight) -> tuple[Flight, bool]:
        for _ in range(TRIES_MAX):
            known, rows, is_new = await self._database.run_in_transaction(
                lambda session: self._insert_or_change(session, flight)
            )
            if rows:
                await self._hold_store.apply(rows)
            if known is not None and same_shape(known, flight):
                return known, is_new
            if known is not None:
                replaced = await self._replace(known, flight)
                if replaced is not None:
                    return replaced, False
        raise Overloaded("Other requests are changing this flight; retry shortly.")

    async def _insert_or_change(
        self, session: WriteSession, flight: Flight
    ) -> tuple[Flight | None, list[InventoryRow], bool]:
        """The stored flight, which may have another shape. None means that the caller must try again."""
        locked = await store.lock(session, flight.flight_id)
        if locked is None:
            if not await store.insert(session, [flight]):
                return None, [], False  # another transaction inserted it first, and has committed
            return flight, await read_rows(session, [flight.flight_id]), True
        if not same_shape(locked.flight, flight):
            return locked.flight, [], False
        known, rows = await self._change(session, locked, flight)
        return known, rows, False

    async def _change(
        self, session: WriteSession, locked: LockedFlight, wanted: Flight
    ) -> tuple[Flight, list[InventoryRow]]:
        """Write new limits, fares and capacities. Equal values write no row and no event."""
        flight_id = locked.flight.flight_id
        before = {cabin.cabin: cabin for cabin in locked.flight.cabins}
        cabins = [cabin for cabin in wanted.cabins if cabin != before[cabin.cabin]]
        if not cabins:
            return locked.flight, await read_rows(session, [flight_id])
        rows = await store.change(session, flight_id, cabins)
        flight = (await read_flights(session, [flight_id]))[flight_id]
        names = {cabin.cabin for cabin in cabins}
        await outbox.append(session, self._fact(flight, locked.event_sequence + 1, names))
        return flight, rows

    async def _replace(self, known: Flight, flight: Flight) -> Flight | None:
        """Give a flight without held or sold seats another shape; None if it was changed meanwhile."""
        barrier = uuid.uuid4().hex  # unique: a concurrent change of the flight has another one
        epoch = await self._hold_store.raise_write_barrier(flight.flight_id, barrier)
        if epoch is None:
            raise FlightInUse(flight.flight_id)
        trusted_until = asyncio.get_running_loop().time() + BARRIER_TRUSTED_SECONDS

        async def work(session: WriteSession) -> Flight | None:
            if not await prove_barrier(session, epoch):
                return None
            locked = await store.lock(session, flight.flight_id)
            if locked is None or locked.flight.version != known.version:
                return None
            if locked.sold_total > 0:
                raise FlightInUse(flight.flight_id)
            await store.replace(session, locked, flight)
            replaced = (await read_flights(session, [flight.flight_id]))[flight.flight_id]
            names = {cabin.cabin for cabin in replaced.cabins}
            await outbox.append(session, self._fact(replaced, locked.event_sequence + 1, names))
            if asyncio.get_running_loop().time() > trusted_until:
                raise DatabaseUnavailable
            return replaced

        to_lift = ""
        try:
            replaced = await self._database.run_in_transaction(work)
            to_lift = "" if replaced is None else barrier
        except FlightInUse:
            to_lift = barrier
            raise
        finally:
            await self._apply_current_rows(flight.flight_id, lift_barrier=to_lift)
        return replaced

    async def _apply_current_rows(self, flight_id: FlightId, *, lift_barrier: str) -> None:
        """Send the flight's rows to Redis, whether or not the change was committed.

        If its outcome is unknown, `lift_barrier` is empty and the barrier expires by itself.
        """
        try:
            async with self._database.reading() as session:
                rows = await read_rows(session, [flight_id])
        except DatabaseUnavailable:
            return  # the barrier expires by itself
        await self._hold_store.apply(rows, lift_barrier=lift_barrier)

    async def _counts(self, flight: Flight, rows: Sequence[InventoryRow]) -> Counts:
        """Live counts, or PostgreSQL's limits and sales where Redis has none, as in search.

        The change is already committed, so the request succeeds even if Redis is unavailable.
        """
        unheld = {
            row.cabin: CabinCounts(row.limits, row.sold, (0,) * len(row.sold)) for row in rows
        }
        live: Counts = {}
        with suppress(HoldStoreUnavailable):
            live = (await self._hold_store.availability([flight])).get(flight.flight_id, {})
        return {cabin.cabin: live.get(cabin.cabin, unheld[cabin.cabin]) for cabin in flight.cabins}

    def _fact(self, flight: Flight, sequence: int, names: set[CabinName]) -> Fact:
        return Fact(
            type=EventType.FLIGHT_INVENTORY_CHANGED,
            version=1,
            tenant_id=None,
            aggregate_type="flight",
            aggregate_id=flight.flight_id,
            sequence=sequence,
            occurred_at=self._clock(),
            data={
                "flight_id": flight.flight_id,
                "cabins": [
                    {
                        "cabin": cabin.cabin.value,
                        "booking_classes": [
                            {
                                "booking_class": one.booking_class,
                                "limit": one.limit,
                                "fare": {"amount": one.fare.amount, "currency": one.fare.currency},
                            }
                            for one in cabin.booking_classes
                        ],
                    }
                    for cabin in flight.cabins
                    if cabin.cabin in names
                ],
            },
        )


def _no_such_flight() -> NotFound:
    return NotFound("There is no flight with this id.")
