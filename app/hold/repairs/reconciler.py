"""The reconciler: compares Redis with the journal and the inventory, each minute, in one process.

It changes nothing: it reports drift in seats, and `holdfast doctor --repair` corrects it (repair.py). A
change in progress is not drift. So a difference counts only if a second reading has it too, with the same
numbers and versions, after all requests of the first reading have ended. With millions of flights and
holds one comparison takes minutes, since it reads for a tenth of the time only.
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
GRACE: Final = timedelta(seconds=6)  # between the readings: longer than any request
SUSPECTS_MAX: Final = 1000
PAGE: Final = 500
PAUSE_SECONDS: Final = 0.005  # between parts, if a caller waits for the result
RESTS_PER_PART: Final = 9  # in the background: this many times the time of the part
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
    """One difference. It is equal in both readings if it persists, whatever else has changed."""

    kind: Kind
    flight_id: FlightId
    seats: int
    description: str = field(compare=False)  # with the numbers of this reading
    hold_id: HoldId | None = None
    cabin: CabinName | None = None
    differences: tuple[int, ...] = ()  # by class
    versions: tuple[int, int] | None = None  # of the row, and of the cabin in Redis


class Reconciler:
    def __init__(self, database: Database, epochs: CurrentEpoch, clock: Clock) -> None:
        self._database = database
        self._epochs = epochs
        self._clock = clock

    async def run_once(self, grace: timedelta = GRACE) -> None:
        """Compare, or report the result of the process that compared last."""
        is_ours = await self._epochs.run(
            lambda life: life.inspection.take_comparison_lease(LEASE_SECONDS)
        )
        if is_ours:
            drifts = await self.compare(grace, self._yield_to_requests)
            seats = drift_seats(drifts)
            packed = ",".join(str(seats[kind]) for kind in Kind)
            await self._epochs.run(lambda life: life.inspection.publish_drift(packed))
            for drift in drifts[:10]:
                _log.error(
                    "inventory_drift",
                    flight_id=drift.flight_id,
                    hold_id=drift.hold_id,
                    count=drift.seats,
                    reason=drift.description,
                )
        published = await self._epochs.run(lambda life: life.inspection.published_drift())
        if published is not None:
            for kind, number in zip(Kind, published.split(","), strict=True):
                DRIFT_SEATS.labels(kind.value).set(int(number))

    async def compare(
        self, grace: timedelta = GRACE, after_part: AfterPart | None = None
    ) -> list[Drift]:
        """The differences that two readings agree on, at most SUSPECTS_MAX.

        `after_part` is awaited after each part of the first reading, with the seconds that the part took.
        """
        after_part = after_part or _pause
        suspects = await self._epochs.run(lambda life: self._first_reading(life, after_part))
        if not suspects:
            return []
        await asyncio.sleep(grace.total_seconds())
        second = await self._epochs.run(lambda life: self._second_reading(life, suspects))
        before = set(suspects)
        return [drift for drift in dict.fromkeys(second) if drift in before]

    async def _yield_to_requests(self, life: Life, seconds: float) -> None:
        """Pause for nine times the time of the part, so that reading takes a tenth of the time."""
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
        """The differences of all flights, of the journal's holds, and then of the holds in Redis."""
        since, key = self._clock() - DEPARTED_FOR, pages.FIRST
        while rows := await self._rows(since, key):
            yield await self._flights(life, rows)
            key = rows[-1].flight_id, rows[-1].cabin.value
        after = ""
        while hold_ids := await self._live_ids(after):
            seen = await life.inspection.holds(hold_ids)
            yield await self._not_in_redis(hold_ids, seen)
            after = hold_ids[-1]
        async for hold_ids in life.inspection.hold_ids():
            yield await self._only_in_redis(life, hold_ids)

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
            *await self._not_in_redis(live, seen),
            *_not_in_journal(hold_ids, seen, states),
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
            is not None  # else no request has loaded it yet
            for drift in _cabin_drifts(row, cabin)
        ]

    async def _not_in_redis(
        self, hold_ids: Sequence[HoldId], seen: dict[HoldId, HoldSeen]
    ) -> list[Drift]:
        """Holds that are HELD in the journal and not live in Redis."""
        differing = [i for i in hold_ids if seen[i].state not in _ALIVE or not seen[i].is_found]
        if not differing:
            return []
        async with self._database.reading() as session:
            holds = await scans.live_among(session, differing)
        return [
            Drift(
                Kind.HELD,
                FlightId(flight),
                seats,
                _hold_description(seen[hold.hold_id]),
                hold.hold_id,
            )
            for hold in holds
            for flight, _, _, seats in hold.lines
        ]

    async def _only_in_redis(self, life: Life, hold_ids: Sequence[HoldId]) -> list[Drift]:
        """Holds that are live in Redis and not HELD in the journal."""
        async with self._database.reading() as session:
            states = await scans.states(session, hold_ids)
        # Holds that are HELD in the journal were compared from there.
        others = [i for i in hold_ids if states.get(i) is not JournalState.HELD]
        return _not_in_journal(others, await life.inspection.holds(others), states)


async def _pause(life: Life, seconds: float) -> None:
    await asyncio.sleep(PAUSE_SECONDS)


def drift_seats(drifts: Iterable[Drift]) -> dict[Kind, int]:
    """Seats by kind. A missing hold and the count that lacks its seats are one difference."""
    counted: dict[tuple[Kind, FlightId], int] = defaultdict(int)
    by_hold: dict[tuple[Kind, FlightId], int] = defaultdict(int)
    for drift in drifts:
        of = counted if drift.hold_id is None else by_hold
        of[drift.kind, drift.flight_id] += drift.seats
    seats = dict.fromkeys(Kind, 0)
    for of_kind in counted.keys() | by_hold.keys():
        seats[of_kind[0]] += max(counted[of_kind], by_hold[of_kind])
    return seats


def _cabin_drifts(row: InventoryRow, seen: CabinSeen) -> list[Drift]:
    drifts = []
    versions = (row.version, seen.version)
    for kind, ours, theirs in (
        (Kind.SOLD, row.sold, seen.sold),
        (Kind.LIMITS, row.limits, seen.limits),
    ):
        if ours != theirs:
            description = (
                f"{row.cabin}: {kind.value} is {_list(ours)} in PostgreSQL (version {row.version}) "
                f"and {_list(theirs)} in Redis (version {seen.version})"
            )
            drifts.append(_make_drift(kind, row, _differences(ours, theirs), description, versions))
    if seen.counted is not None and seen.counted != seen.held:
        description = (
            f"{row.cabin}: Redis counts {_list(seen.held)} held, "
            f"but its live holds have {_list(seen.counted)}"
        )
        drifts.append(
            _make_drift(Kind.HELD, row, _differences(seen.held, seen.counted), description, None)
        )
    return drifts


def _make_drift(
    kind: Kind,
    row: InventoryRow,
    differences: tuple[int, ...],
    description: str,
    versions: tuple[int, int] | None,
) -> Drift:
    seats = sum(map(abs, differences))
    return Drift(kind, row.flight_id, seats, description, None, row.cabin, differences, versions)


def _not_in_journal(
    hold_ids: Iterable[HoldId],
    seen: dict[HoldId, HoldSeen],
    states: dict[HoldId, JournalState],
) -> list[Drift]:
    drifts = []
    for hold_id in hold_ids:
        state = states.get(hold_id)
        if seen[hold_id].state in _ALIVE and state is not JournalState.HELD:
            recorded = "does not have it" if state is None else f"has it as {state.value}"
            description = f"hold {hold_id} is live in Redis, but PostgreSQL {recorded}"
            for flight_id, seats in seen[hold_id].seats:
                drifts.append(Drift(Kind.HELD, flight_id, seats, description, hold_id))
    return drifts


def _hold_description(seen: HoldSeen) -> str:
    if seen.state is MemoState.UNKNOWN:
        return "a hold that PostgreSQL has as HELD is missing in Redis"
    if seen.state in _ALIVE:
        return "a hold is live in Redis, but neither expiry nor the resolver will find it"
    return f"a hold that PostgreSQL has as HELD is {seen.state.value} in Redis"


def _differences(ours: Sequence[int], theirs: Sequence[int]) -> tuple[int, ...]:
    longest = max(len(ours), len(theirs))
    padded = (tuple(numbers) + (0,) * (longest - len(numbers)) for numbers in (ours, theirs))
    return tuple(one - other for one, other in zip(*padded, strict=True))


def _list(numbers: Sequence[int]) -> str:
    return "/".join(map(str, numbers)) or "none"
