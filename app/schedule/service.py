"""Puts dated flights, and changes their limits and fares while they are being sold.

Postgres first, in one transaction with the event; then the rows go to Redis, which takes over what is
newer and misses nothing for good. What seats are counted by (times, stations, carrier, classes) only
changes while nobody has a seat: holds are fenced off in Redis, and the transaction proves that the
fence's epoch still lasts and that nothing is sold.
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
from app.schedule.changes import CabinChange, changed
from app.schedule.errors import FlightInUse
from app.schedule.model import same_shape
from app.schedule.store import LockedFlight
from app.storage.database import Database, WriteSession

TRIES_MAX = 3
FENCE_TRUSTED_SECONDS = 5.0  # half of what a fence lasts: the rest is for the commit itself

Counts = Mapping[CabinName, CabinCounts]


class HoldInventory(Protocol):
    """What the schedule needs of the place where seats are held."""

    async def fence(self, flight_id: FlightId, name: str) -> int | None:
        """None where seats of the flight are held; else the epoch in which none can be, for ten
        seconds at most, until an `apply` lifts the fence of this name.
        """

    async def apply(self, rows: Sequence[InventoryRow], *, lift_fence: str = "") -> None:
        """Takes over what is newer; never raises."""

    async def availability(self, flights: Sequence[Flight]) -> Mapping[FlightId, Counts]:
        """The live numbers; a cabin that is not known there (yet) is left out."""


class ScheduleService:
    def __init__(
        self,
        database: Database,
        hold_store: HoldInventory,
        clock: Clock,
        on_change: Callable[[Flight], None] = lambda _: None,
    ) -> None:
        """`on_change` hears of a flight as it is now, after each change made by this process."""
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
        """The flight as it is now, and whether it is new. Raises FlightInUse."""
        stored, is_new = await self._put(flight)
        self._on_change(stored)
        return stored, is_new

    async def patch(
        self, flight_id: FlightId, changes: Sequence[CabinChange]
    ) -> tuple[Flight, Counts]:
        """The flight after the change, and its live numbers. Raises NotFound, ValidationFailed."""

        async def work(session: WriteSession) -> tuple[Flight, list[InventoryRow]]:
            locked = await store.lock(session, flight_id)
            if locked is None:
                raise _no_such_flight()
            return await self._change(session, locked, changed(locked.flight, changes))

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
        raise Overloaded("Others are changing this flight at the same time; retry shortly.")

    async def _insert_or_change(
        self, session: WriteSession, flight: Flight
    ) -> tuple[Flight | None, list[InventoryRow], bool]:
        """The flight as the transaction leaves it, which may be of another shape; None: look again."""
        locked = await store.lock(session, flight.flight_id)
        if locked is None:
            if not await store.insert(session, [flight]):
                return None, [], False  # somebody else was first, and has committed by now
            return flight, await read_rows(session, [flight.flight_id]), True
        if not same_shape(locked.flight, flight):
            return locked.flight, [], False
        known, rows = await self._change(session, locked, flight)
        return known, rows, False

    async def _change(
        self, session: WriteSession, locked: LockedFlight, wanted: Flight
    ) -> tuple[Flight, list[InventoryRow]]:
        """New limits, fares and capacities; nothing at all happens where they are as they were."""
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
        """Another shape for a flight that nobody has a seat on; None where it was changed meanwhile."""
        fence = uuid.uuid4().hex  # ours alone: another change of the flight may have one too
        epoch = await self._hold_store.fence(flight.flight_id, fence)
        if epoch is None:
            raise FlightInUse(flight.flight_id)
        trusted_until = asyncio.get_running_loop().time() + FENCE_TRUSTED_SECONDS

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

        lift_fence = ""
        try:
            replaced = await self._database.run_in_transaction(work)
            lift_fence = "" if replaced is None else fence
        except FlightInUse:
            lift_fence = fence
            raise
        finally:
            await self._apply_again(flight.flight_id, lift_fence=lift_fence)
        return replaced

    async def _apply_again(self, flight_id: FlightId, *, lift_fence: str) -> None:
        """The rows as they are, whatever became of a change. Where it is not known, the fence is
        left to fall by itself.
        """
        try:
            async with self._database.reading() as session:
                rows = await read_rows(session, [flight_id])
        except DatabaseUnavailable:
            return  # the fence falls by itself
        await self._hold_store.apply(rows, lift_fence=lift_fence)

    async def _counts(self, flight: Flight, rows: Sequence[InventoryRow]) -> Counts:
        """What Redis cannot say now is told by Postgres, as in search: limits and sales, no holds. The
        change is made by then, so an absent Redis is no reason to refuse.
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
    return NotFound("No flight has this id.")
