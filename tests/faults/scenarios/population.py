"""Flights by the thousand and holds by the hundred thousand, really in both stores.

A hold over HTTP costs milliseconds. These are made in the same way without HTTP: the script grants each, and
the journal's statement writes it, under the same epoch.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial

from app.hold.journal import store as journal
from app.hold.model import Granted, JournalEntry
from app.ids import FlightId, HoldId, TenantId, hold_id
from app.inventory.itinerary import PassengerCounts, Segment, price
from app.inventory.model import CabinName, Flight, SeatLine
from app.inventory.store import read_rows
from app.money import Money
from app.schedule.store import insert
from app.wiring import Core, build_core
from tests.builders.flights import cabin, flight
from tests.faults.scenarios.crowd import each, parts
from tests.faults.stack import Stack

OPEN = 3  # free seats of each flight
_WRITE_BATCH = 500
_ONE = PassengerCounts(1)
_DEMO = TenantId("demo")


@dataclass(frozen=True, slots=True)
class Population:
    flights: list[str]
    held: list[JournalEntry]


@asynccontextmanager
async def core_beside(stack: Stack) -> AsyncIterator[Core]:
    """The protocol in this process, on the stack's stores and around its links."""
    core = build_core(
        stack.database_url, stack.redis_url, hold_ttl=timedelta(seconds=stack.ttl_seconds)
    )
    try:
        yield core
    finally:
        await core.close()


async def populate(core: Core, flights: int, holds: int, *, reserved: int) -> Population:
    """Holds spread evenly, half of them over two flights; room is left for `reserved` more of one
    seat, in the order of the flights.
    """
    on_sale = _flights(flights, holds, reserved)
    for part in parts(on_sale, 1000):
        await core.database.run_in_transaction(partial(insert, flights=part))
        async with core.database.reading() as session:
            rows = await read_rows(session, [one.flight_id for one in part])
        for some in parts(rows, _WRITE_BATCH):
            await core.availability.apply(some)
    held: list[JournalEntry] = []
    for numbers in parts(range(holds), _WRITE_BATCH):
        held += await _held(core, on_sale, numbers)
    return Population([one.flight_id for one in on_sale], held)


async def _held(core: Core, on_sale: list[Flight], numbers: Sequence[int]) -> list[JournalEntry]:
    life = await core.epochs.life()

    async def grant(number: int) -> JournalEntry:
        key = f"crowd-{number}"
        taken = [on_sale[place] for place in _places(number, len(on_sale))]
        segments = tuple(Segment.of(one, one.cabins[0], 1) for one in taken)
        lines = tuple(SeatLine(one.flight_id, CabinName.ECONOMY, 1, 1) for one in taken)
        its_id = hold_id(_DEMO, key, 1)
        versions = {one.flight_id: 1 for one in taken}
        granted = await life.holds.place(its_id, its_id, "a" * 16, lines, versions)
        assert isinstance(granted, Granted), granted
        return JournalEntry(
            hold_id=its_id,
            tenant_id=_DEMO,
            idempotency_key=key,
            attempt=1,
            request_hash="a" * 64,
            client_reference=None,
            lines=lines,
            segments=segments,
            passengers=_ONE,
            price=price(segments, _ONE),
            epoch=life.number,
            granted_at=granted.granted_at,
            expires_at=granted.expires_at,
            first_expires_at=granted.expires_at,
        )

    promises = await each(numbers, grant, concurrently=64)
    written = await core.database.run_statement(lambda session: journal.append(session, promises))
    assert len(written) == len(promises)
    return promises


def _flights(count: int, holds: int, reserved: int) -> list[Flight]:
    taken = [OPEN] * count
    for number in range(holds):
        for place in _places(number, count):
            taken[place] += 1
    for number in range(reserved):
        taken[number % count] += 1
    fare = Money(129_900, "CLP")
    like = flight()
    return [
        replace(
            like,
            flight_id=FlightId(f"flt_P{place:07}"),
            cabins=(cabin((("Y", seats, fare),)),),
        )
        for place, seats in enumerate(taken)
    ]


def _places(number: int, count: int) -> list[int]:
    places = [number % count]
    return [*places, (number + count // 2) % count] if number % 2 and count > 1 else places


def ids(promises: list[JournalEntry]) -> list[HoldId]:
    return [promise.hold_id for promise in promises]
