"""Compares what Redis counts with what Postgres promises and has sold, each minute, in one process.

Among millions one comparison takes minutes, so that requests hardly notice it. Nothing
is changed here: drift is shown, and mended where somebody asks for it (repair.py). What is on its way
is no drift: a difference counts only if it stands, with the same numbers and versions, in a second
reading that is made when every request of before has ended. Told in seats.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from time import monotonic
from typing import Final

import structlog
from prometheus_client import Gauge

from app.clock import Clock
from app.hold.epochs.current import CurrentEpoch
from app.hold.journal import scans
from app.hold.model import JournalState, MemoState
from app.hold.redis.inspection import CabinSeen, HoldSeen
from app.hold.redis.life import Life
from app.ids import FlightId, HoldId
from app.inventory import pages
from app.inventory import store as inventory_store
from app.inventory.model import CabinName, InventoryRow
from app.storage.database import Database

_log = structlog.get_logger(__name__)

LEASE_SECONDS: Final = 55.0
GRACE: Final = timedelta(seconds=6)  # longer than any request lasts
SUSPECTS_MAX: Final = 1000
PAGE: Final = 500
PAUSE_SECONDS: Final = 0.005  # between parts, for who waits for the outcome
RESTS_PER_PART: Final = 9  # and so many times what the part took, where nobody waits
REST_SECONDS_MAX: Final = 1.0
DEPARTED_FOR: Final = timedelta(days=1)
AfterPart = Callable[[Life, float], Awaitable[None]]
_ALIVE: Final = (MemoState.HELD, MemoState.PINNED)

DRIFT_SEATS = Gauge(
    "holdfast_inventory_drift_seats",
    "Seats by which Redis and PostgreSQL differ, in two readings.",
    ["kind"],
    multiprocess_mode="livemostrecent",
)


class Kind(StrEnum):
    SOLD = "sold"
    HELD = "held"
    LIMITS = "limits"


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference; equal in two readings where it stands, whatever else moved."""

    kind: Kind
    flight_id: FlightId
    seats: int
    what: str = field(compare=False)  # in words, with the numbers of the moment
    hold_id: HoldId | None = None
    cabin: CabinName | None = None
    apart: tuple[int, ...] = ()  # by class
    versions: tuple[int, int] | None = None  # of the row, and of what Redis has


class Reconciler:
    def __init__(self, database: Database, epochs: CurrentEpoch, clock: Clock) -> None:
        self._database = database
        self._epochs = epochs
        self._clock = clock

    async def run_once(self, grace: timedelta = GRACE) -> None:
        """Compares, or shows what another process has found."""
        may = await self._epochs.run(
            lambda life: life.inspection.take_comparison_lease(LEASE_SECONDS)
        )
        if may:
            drifts = await self.compare(grace, self._let_requests_by)
            seats = seats_of(drifts)
            told = ",".join(str(seats[kind]) for kind in Kind)
            await self._epochs.run(lambda life: life.inspection.publish_drift(told))
            for drift in drifts[:10]:
                _log.error(
                    "inventory_drift",
                    flight_id=drift.flight_id,
                    hold_id=drift.hold_id,
                    count=drift.seats,
                    reason=drift.what,
                )
        told_by_any = await self._epochs.run(lambda life: life.inspection.published_drift())
        if told_by_any is not None:
            for kind, number in zip(Kind, told_by_any.split(","), strict=True):
                DRIFT_SEATS.labels(kind.value).set(int(number))

    async def compare(
        self, grace: timedelta = GRACE, after_part: AfterPart | None = None
    ) -> list[Drift]:
        """What stands in two readings, the first SUSPECTS_MAX of it.

        `after_part` is awaited after each part of the first, with the epoch and the seconds it took.
        """
        after_part = after_part or _pause
        suspects = await self._epochs.run(lambda life: self._first_reading(life, after_part))
        if not suspects:
            return []
        await asyncio.sleep(grace.total_seconds())
        again = await self._epochs.run(lambda life: self._second_reading(life, suspects))
        before = set(suspects)
        return [drift for drift in dict.fromkeys(again) if drift in before]

    async def _let_requests_by(self, life: Life, seconds: float) -> None:
        """Among millions the parts follow each other for minutes: a tenth of that is reading."""
        await life.inspection.renew_comparison_lease(LEASE_SECONDS)
        await asyncio.sleep(min(RESTS_PER_PART * seconds, REST_SECONDS_MAX))

    async def _first_reading(self, life: Life, after_part: AfterPart) -> list[Drift]:
        suspects: dict[Drift, None] = {}
        began = monotonic()
        async with aclosing(self._parts(life)) as parts:
            async for found in parts:
                suspects.update(dict.fromkeys(found))
                if len(suspects) >= SUSPECTS_MAX:
                    break
                await after_part(life, monotonic() - began)
                began = monotonic()
        return list(suspects)[:SUSPECTS_MAX]

    async def _parts(self, life: Life) -> AsyncGenerator[list[Drift]]:
        """All flights, then the holds that the journal has, then those that Redis has."""
        since, key = self._clock() - DEPARTED_FOR, pages.FIRST
        while rows := await self._rows(since, key):
            yield await self._flights(life, rows)
            key = rows[-1].flight_id, rows[-1].cabin.value
        after = ""
        while hold_ids := await self._live_ids(after):
            seen = await life.inspection.holds(hold_ids)
            yield await self._promised(hold_ids, seen)
            after = hold_ids[-1]
        async for hold_ids in life.inspection.hold_ids():
            yield await self._remembered(life, hold_ids)

    async def _second_reading(self, life: Life, suspects: Sequence[Drift]) -> list[Drift]:
        flight_ids = {drift.flight_id for drift in suspects if drift.hold_id is None}
        hold_ids = sorted({drift.hold_id for drift in suspects if drift.hold_id is not None})
        async with self._database.reading() as session:
            rows = await inventory_store.read_rows(session, flight_ids)
            states = await scans.states(session, hold_ids)
        seen = await life.inspection.holds(hold_ids)
        live = [i for i in hold_ids if states.get(i) is JournalState.HELD]
        return [
            *await self._flights(life, rows),
            *await self._promised(live, seen),
            *_unpromised(hold_ids, seen, states),
        ]

    async def _rows(self, since: datetime, after: pages.Key) -> list[InventoryRow]:
        async with self._database.reading() as session:
            return await pages.rows(session, since, after, PAGE)

    async def _live_ids(self, after: str) -> list[HoldId]:
        async with self._database.reading() as session:
            return await scans.live_ids(session, after, PAGE)

    async def _flights(self, life: Life, rows: Collection[InventoryRow]) -> list[Drift]:
        flight_ids = sorted({row.flight_id for row in rows})
        seen = await life.inspection.flights(flight_ids)
        return [
            drift
            for row in rows
            if (cabin := seen[row.flight_id].get(row.cabin))
            is not None  # or nobody asked for it yet
            for drift in _of_cabin(row, cabin)
        ]

    async def _promised(
        self, hold_ids: Sequence[HoldId], seen: dict[HoldId, HoldSeen]
    ) -> list[Drift]:
        """Holds that the journal has HELD, and Redis does not keep."""
        odd = [i for i in hold_ids if seen[i].state not in _ALIVE or not seen[i].is_found]
        if not odd:
            return []
        async with self._database.reading() as session:
            holds = await scans.live_among(session, odd)
        return [
            Drift(Kind.HELD, FlightId(flight), seats, _oddity(seen[hold.hold_id]), hold.hold_id)
            for hold in holds
            for flight, _, _, seats in hold.lines
        ]

    async def _remembered(self, life: Life, hold_ids: Sequence[HoldId]) -> list[Drift]:
        """Holds that Redis keeps, and the journal does not have HELD."""
        async with self._database.reading() as session:
            states = await scans.states(session, hold_ids)
        # What the journal has HELD was looked at from the other side.
        others = [i for i in hold_ids if states.get(i) is not JournalState.HELD]
        return _unpromised(others, await life.inspection.holds(others), states)


async def _pause(life: Life, seconds: float) -> None:
    await asyncio.sleep(PAUSE_SECONDS)


def seats_of(drifts: Iterable[Drift]) -> dict[Kind, int]:
    """By kind. A hold that is missing and the count that misses it are one difference."""
    counted: dict[tuple[Kind, FlightId], int] = defaultdict(int)
    by_hold: dict[tuple[Kind, FlightId], int] = defaultdict(int)
    for drift in drifts:
        of = counted if drift.hold_id is None else by_hold
        of[drift.kind, drift.flight_id] += drift.seats
    seats = dict.fromkeys(Kind, 0)
    for of_kind in counted.keys() | by_hold.keys():
        seats[of_kind[0]] += max(counted[of_kind], by_hold[of_kind])
    return seats


def _of_cabin(row: InventoryRow, seen: CabinSeen) -> list[Drift]:
    drifts = []
    versions = (row.version, seen.version)
    for kind, ours, theirs in (
        (Kind.SOLD, row.sold, seen.sold),
        (Kind.LIMITS, row.limits, seen.limits),
    ):
        if ours != theirs:
            what = (
                f"{row.cabin}: {kind.value} is {_list(ours)} in PostgreSQL (version {row.version}) "
                f"and {_list(theirs)} in Redis (version {seen.version})"
            )
            drifts.append(_drift(kind, row, _apart(ours, theirs), what, versions))
    if seen.counted is not None and seen.counted != seen.held:
        what = (
            f"{row.cabin}: Redis counts {_list(seen.held)} held, "
            f"and its live holds add up to {_list(seen.counted)}"
        )
        drifts.append(_drift(Kind.HELD, row, _apart(seen.held, seen.counted), what, None))
    return drifts


def _drift(
    kind: Kind,
    row: InventoryRow,
    apart: tuple[int, ...],
    what: str,
    versions: tuple[int, int] | None,
) -> Drift:
    seats = sum(map(abs, apart))
    return Drift(kind, row.flight_id, seats, what, None, row.cabin, apart, versions)


def _unpromised(
    hold_ids: Iterable[HoldId],
    seen: dict[HoldId, HoldSeen],
    states: dict[HoldId, JournalState],
) -> list[Drift]:
    drifts = []
    for hold_id in hold_ids:
        state = states.get(hold_id)
        if seen[hold_id].state in _ALIVE and state is not JournalState.HELD:
            known = "does not know it" if state is None else f"has it as {state.value}"
            what = f"hold {hold_id} is live in Redis, and PostgreSQL {known}"
            for flight_id, seats in seen[hold_id].seats:
                drifts.append(Drift(Kind.HELD, flight_id, seats, what, hold_id))
    return drifts


def _oddity(seen: HoldSeen) -> str:
    if seen.state is MemoState.UNKNOWN:
        return "a hold that PostgreSQL promises is missing in Redis"
    if seen.state in _ALIVE:
        return "a hold is live in Redis where nothing that ends it will find it"
    return f"a hold that PostgreSQL promises is {seen.state.value} in Redis"


def _apart(ours: Sequence[int], theirs: Sequence[int]) -> tuple[int, ...]:
    longest = max(len(ours), len(theirs))
    padded = (tuple(numbers) + (0,) * (longest - len(numbers)) for numbers in (ours, theirs))
    return tuple(one - other for one, other in zip(*padded, strict=True))


def _list(numbers: Sequence[int]) -> str:
    return "/".join(map(str, numbers)) or "nothing"
