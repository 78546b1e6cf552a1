"""The simulator's handlers do what PostgreSQL does: the same operations on both give the same rows.

The operations are functions of the stores, drawn by a seed, one transaction after another. How transactions
wait for each other is checked in other tests.
"""

import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Table, select
from sqlalchemy.exc import DBAPIError

from app.booking import store as bookings
from app.booking import tables as booking_tables
from app.booking.model import Booking, BookingStatus, Payment
from app.booking.store import NewBooking
from app.hold.epochs import transition
from app.hold.epochs.current import read_row
from app.hold.epochs.suspicion import Suspicions
from app.hold.journal import scans
from app.hold.journal import store as journal
from app.hold.journal import tables as hold_tables
from app.hold.model import JournalEntry, JournalState
from app.idempotency import store as idempotency
from app.idempotency import tables as idempotency_tables
from app.idempotency.model import IdempotencyKey, NewRecord
from app.ids import BookingId, EventId, FlightId, HoldId, TenantId
from app.inventory import pages
from app.inventory import store as inventory
from app.inventory import tables as inventory_tables
from app.inventory.itinerary import PassengerCounts, Segment, price
from app.inventory.model import CabinName, SeatLine
from app.outbox import store as outbox
from app.outbox import tables as outbox_tables
from app.outbox.model import EventType, Fact
from app.schedule import store as schedule
from app.storage.database import Database, WriteSession
from app.storage.transaction import SHORT_LOCK_TIMEOUT, sqlstate_of
from tests.builders.bookings import CONTACT, passenger
from tests.builders.flights import flight, put_flights
from tests.simulation.effects import Effects, Outcome
from tests.simulation.loop import Loop
from tests.simulation.mutants import planted
from tests.simulation.postgres import TABLES, Postgres
from tests.simulation.world import insert_rows

Operation = Callable[[WriteSession], Awaitable[Any]]

FLIGHTS = [flight(flight_id=f"flt_{number}") for number in range(2)]
OPERATIONS = 250
IN_SQL = (
    "no fencing token in the WHERE",
    "no state in the WHERE",
    "rebuild without cut",
    "cut over HELD rows only",
    "epoch read at INSERT time",
    "constraint removed",
)
_MODULES = (
    hold_tables,
    inventory_tables,
    booking_tables,
    outbox_tables,
    idempotency_tables,
)
_BY_THE_CLOCK = {
    "ended_at",
    "extended_at",
    "bumped_at",
    "closing_until",
    "rebuilder_until",
    "away_since",
}
_START = datetime(2027, 1, 1, tzinfo=UTC)


class AtOnce(Effects):
    """Every effect happens at once: there is no other process."""

    def __init__(self) -> None:
        super().__init__(Loop(random.Random(0)))

    async def do(
        self,
        label: str,
        perform: Callable[[], Any],
        lost: Callable[[], Exception],
        give_up: Callable[[Outcome], None] | None = None,
        lock_timeout: Callable[[], int] = lambda: 0,
    ) -> Any:
        return perform()


@pytest.mark.parametrize("seed", range(4))
async def test_handlers_do_what_the_sql_does(empty_database: str, seed: int) -> None:
    await compare(empty_database, seed)


@pytest.mark.parametrize("name", IN_SQL)
async def test_a_wrong_handler_is_found(empty_database: str, name: str) -> None:
    with planted(name), pytest.raises(AssertionError):
        await compare(empty_database, 0)


async def compare(url: str, seed: int) -> None:
    """Raise AssertionError at the first operation whose answer or rows differ."""
    real = Database(url)
    simulated = simulated_postgres()
    try:
        await put_flights(real, *FLIGHTS)
        insert_rows(simulated, FLIGHTS)
        draw = Draw(random.Random(seed))
        for number in range(OPERATIONS):
            name, operation = draw.operation()
            answers = [await _answer(one, operation) for one in (real, simulated.database())]
            assert answers[0] == answers[1], f"operation {number}: {name}"
            if number % 10 == 0 or number == OPERATIONS - 1:
                await _compare(real, simulated, f"after operation {number}: {name}")
    finally:
        await real.close()
    assert simulated.failures == []


def simulated_postgres() -> Postgres:
    return Postgres(AtOnce(), lambda: int(time.time() * 1_000_000), lambda _: None, [])


async def _answer(database: Database, operation: Operation) -> Any:
    try:
        return await database.run_in_transaction(operation)
    except DBAPIError as error:
        return sqlstate_of(error)


async def _compare(real: Database, simulated: Postgres, when: str) -> None:
    for name in TABLES:
        table = _table(name)
        keys = [column.name for column in table.primary_key]
        async with real.reading() as session:
            rows = (await session.execute(select(table).order_by(*keys))).mappings().all()
        ours = [row for _, row in sorted(simulated.tables[name].items())]
        assert [_plain(row) for row in rows] == [_plain(row) for row in ours], f"{name} {when}"


def _table(name: str) -> Table:
    for module in _MODULES:
        found = getattr(module, name, None)
        if isinstance(found, Table):
            return found
    raise AssertionError(name)


def _plain(row: Any) -> dict[str, Any]:
    return {
        name: value is not None if name in _BY_THE_CLOCK else value for name, value in row.items()
    }


class Draw:
    """Draws operations on few ids, so that they conflict."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.ids = [HoldId(f"hold_{letter * 26}") for letter in "abcdefgh"]
        self.tenants = [TenantId("demo"), TenantId("rival")]
        self.facts = 0

    def operation(self) -> tuple[str, Operation]:
        names = [name for name in dir(self) if name.startswith("op_")]
        weights = [3 if name in ("op_append", "op_bump", "op_flip") else 1 for name in names]
        name = self.chance.choices(names, weights)[0]
        return name, getattr(self, name)()

    def some(self, things: list[Any], most: int = 3) -> list[Any]:
        return self.chance.sample(things, self.chance.randint(1, min(most, len(things))))

    def op_append(self) -> Operation:
        entries = [self._entry(hold_id) for hold_id in self.some(self.ids)]
        return lambda s: journal.append(s, entries)

    def op_prove(self) -> Operation:
        epoch = self.chance.randint(0, 4)
        return lambda s: journal.prove_epoch(s, epoch)

    def op_prove_rebuilding(self) -> Operation:
        return journal.prove_rebuilding

    def op_confirm(self) -> Operation:
        tokens = {i: self.chance.choice((None, 1, 1, 2)) for i in self.some(self.ids)}
        return lambda s: journal.confirm(s, tokens)

    def op_release(self) -> Operation:
        asked = [(self.chance.choice(self.tenants), i) for i in self.some(self.ids)]
        return lambda s: journal.release(s, asked)

    def op_extend(self) -> Operation:
        ends = [
            journal.NewEnd(self.chance.choice(self.tenants), i, _START + timedelta(hours=9))
            for i in self.some(self.ids)
        ]
        return lambda s: journal.extend(s, ends)

    def op_expire(self) -> Operation:
        ids = self.some(self.ids, 2)
        return lambda s: journal.expire(s, ids)

    def op_abort_missing(self) -> Operation:
        ids = self.some(self.ids, 2)
        return lambda s: journal.abort_missing(s, 1, ids)

    def op_raise_token(self) -> Operation:
        hold_id = self.chance.choice(self.ids)

        async def work(session: WriteSession) -> int | None:
            if await journal.lock(session, hold_id) is None:
                return None
            return await journal.raise_fencing_token(session, hold_id)

        return work

    def op_read_holds(self) -> Operation:
        ids, tenant = self.some(self.ids, 5), self.chance.choice(self.tenants)

        async def work(session: WriteSession) -> Any:
            return (
                await journal.read(session, ids[0]),
                await journal.read_own(session, tenant, ids[0]),
                await journal.read_all(session, ids),
                await scans.states(session, ids),
                await scans.memo_page(session, ids[0], 2),
                await scans.live_among(session, ids),
                await scans.live_ids(session, "", 100),
                await scans.just_ended(session, 600.0, 100),
                sorted(await scans.newest_grants(session, 1), key=lambda grant: grant.hold_id),
            )

        return work

    def op_lease(self) -> Operation:
        who = self.chance.choice(("P1", "P2"))
        statement = self.chance.choice(
            (
                transition._CLOSE_GATE,
                transition._OPEN_GATE,
                transition._OPEN_GATE,
                transition._DROP_LEASE,
            )
        )

        async def work(session: WriteSession) -> Any:
            values = {"who": who, "seconds": 30.0}
            taken = (await session.execute(transition._TAKE_LEASE, values)).one_or_none()
            changed = await session.execute(statement, {"who": who})
            await session.execute(transition._OPEN_GATE, {"who": who})
            return taken is not None, changed.rowcount

        return work

    def op_bump(self) -> Operation:
        if self.chance.random() < 0.8:
            return self.op_flip()

        async def work(session: WriteSession) -> Any:
            seen = (await session.execute(transition._LOCK_EPOCH)).scalar_one()
            return await transition._bump(session, seen)

        return work

    def op_flip(self) -> Operation:
        async def work(session: WriteSession) -> int:
            epoch = (await session.execute(transition._LOCK_EPOCH)).scalar_one()
            values = {"epoch": epoch, "incarnation": f"R{epoch}"}
            return (await session.execute(transition._PUBLISH, values)).rowcount

        return work

    def op_sell(self) -> Operation:
        lines = [
            SeatLine(
                FlightId(f"flt_{self.chance.randint(0, 2)}"),
                CabinName.ECONOMY,
                self.chance.randint(1, 2),
                self.chance.randint(1, 4),
            )
            for _ in range(self.chance.randint(1, 3))
        ]
        move = self.chance.choice((inventory.add_sold, inventory.add_sold, inventory.subtract_sold))

        async def work(session: WriteSession) -> Any:
            moved = await move(session, lines)
            return moved if isinstance(moved, SeatLine) else sorted(moved, key=str)

        return work

    def op_read_rows(self) -> Operation:
        async def work(session: WriteSession) -> Any:
            ids = [FlightId("flt_1"), FlightId("flt_0"), FlightId("flt_none")]
            whole, after = [], pages.FIRST
            while page := await pages.rows(session, _START, after, 1):
                whole += page
                after = page[-1].flight_id, page[-1].cabin.value
            return (
                await inventory.read_rows(session, ids),
                await inventory.read_flights(session, ids),
                await inventory.cabins_with_excess_ceiling(session, ("", ""), 10),
                whole,
                await pages.packed_rows(session, _START, pages.FIRST, pages.LAST, 2),
                await pages.packed_rows(session, _START, ("flt_0", ""), ("flt_0", "z"), 2),
            )

        return work

    def op_change(self) -> Operation:
        flight_id = FlightId(f"flt_{self.chance.randint(0, 2)}")
        limits = [self.chance.randint(0, 12), self.chance.randint(0, 12)]

        async def work(session: WriteSession) -> Any:
            locked = await schedule.lock(session, flight_id)
            if locked is None:
                return None
            (cabin,) = locked.flight.cabins
            classes = zip(cabin.booking_classes, limits, strict=True)
            changed = tuple(replace(one, limit=limit) for one, limit in classes)
            wanted = replace(cabin, booking_classes=changed)
            return locked, await schedule.change(session, flight_id, [wanted])

        return work

    def op_update_ceiling(self) -> Operation:
        flight_id = FlightId(f"flt_{self.chance.randint(0, 2)}")
        version = self.chance.randint(1, 12)
        taken = [self.chance.randint(0, 6) for _ in range(self.chance.choice((1, 2, 2, 2)))]
        return lambda s: inventory.lower_ceilings(s, flight_id, CabinName.ECONOMY, version, taken)

    def op_book(self) -> Operation:
        new = [self._booking(hold_id) for hold_id in self.some(self.ids)]
        return lambda s: bookings.add(s, new)

    def op_cancel(self) -> Operation:
        asked = [(self.chance.choice(self.tenants), _booking_id(i)) for i in self.some(self.ids)]
        return lambda s: bookings.cancel(s, asked, _START + timedelta(days=1))

    def op_read_bookings(self) -> Operation:
        asked = [(self.chance.choice(self.tenants), _booking_id(i)) for i in self.some(self.ids)]

        async def work(session: WriteSession) -> Any:
            references = [(tenant, "ref-1") for tenant in self.tenants]
            return (
                await bookings.read_all(session, asked),
                await bookings.with_client_references(session, references),
            )

        return work

    def op_store_facts(self) -> Operation:
        facts = [self._fact() for _ in range(self.chance.randint(1, 2))]
        return lambda s: outbox.append(s, *facts)

    def op_number(self) -> Operation:
        count = self.chance.randint(1, 3)

        async def work(session: WriteSession) -> Any:
            numbered: list[EventId] = await outbox.number(session, count)
            return (
                numbered,
                await outbox.last_position(session),
                await outbox.numbered_after(session, 1, 5),
            )

        return work

    def op_check_keys(self) -> Operation:
        requests = [
            NewRecord(
                self.chance.choice(self.tenants),
                IdempotencyKey(f"k{number}", str(self.chance.randint(1, 2)) * 64),
                f"subject-{number}",
                {"number": number},
            )
            for number in self.some([1, 2, 3, 4])
        ]

        async def work(session: WriteSession) -> Any:
            await session.execute(SHORT_LOCK_TIMEOUT)
            asked = {(request.tenant_id, request.key.key) for request in requests}
            return (
                await idempotency.insert_all(session, "route", requests, _START),
                await idempotency.find_all(session, "route", asked),
                await idempotency.find(session, requests[0].tenant_id, "other", requests[0].key),
            )

        return work

    def _entry(self, hold_id: HoldId) -> JournalEntry:
        one = self.chance.choice(FLIGHTS)
        segment = Segment.of(one, one.cabins[0], 1)
        counts = PassengerCounts(self.chance.randint(1, 3))
        granted_at = _START + timedelta(milliseconds=self.chance.randrange(6000))
        expires_at = granted_at + timedelta(seconds=self.chance.randint(1, 8))
        return JournalEntry(
            hold_id=hold_id,
            tenant_id=self.chance.choice(self.tenants),
            idempotency_key=f"key of {hold_id}",
            attempt=1,
            request_hash=hold_id[-1] * 64,
            client_reference=self.chance.choice((None, "ref")),
            lines=(SeatLine(one.flight_id, CabinName.ECONOMY, 1, counts.seats),),
            segments=(segment,),
            passengers=counts,
            price=price([segment], counts),
            epoch=self.chance.randint(0, 3),
            granted_at=granted_at,
            expires_at=expires_at,
            first_expires_at=expires_at,
            state=self.chance.choice((JournalState.HELD,) * 4 + (JournalState.ABORTED,)),
        )

    def _booking(self, hold_id: HoldId) -> NewBooking:
        entry = self._entry(hold_id)
        booking = Booking(
            booking_id=_booking_id(hold_id),
            record_locator=f"LOC{self.chance.randint(100, 105)}",
            status=BookingStatus.CONFIRMED,
            hold_id=hold_id,
            segments=entry.segments,
            passengers=(passenger(), passenger("CHD")),
            contact=CONTACT,
            payment=Payment("pay-1", entry.price.total),
            price=entry.price,
            client_reference=self.chance.choice((None, None, "ref-1")),
            created_at=_START,
        )
        return NewBooking(entry.tenant_id, booking, entry.lines)

    def _fact(self) -> Fact:
        self.facts += 1
        return Fact(
            type=EventType.BOOKING_CONFIRMED,
            version=1,
            tenant_id=self.chance.choice(self.tenants),
            aggregate_type="booking",
            aggregate_id=f"bkg_{self.chance.randint(1, 3)}",
            sequence=self.chance.randint(1, 3),
            occurred_at=_START + timedelta(seconds=self.facts),
            data={"segments": [{"flight_id": "flt_0"}]},
        )


async def test_epoch_and_suspicions_are_read_alike(empty_database: str) -> None:
    real = Database(empty_database)
    simulated = simulated_postgres()
    insert_rows(simulated, [])
    try:
        for wait in (0.0, 60.0):
            answers = []
            for database in (real, simulated.database()):
                suspicions = Suspicions(database)
                said = await suspicions.raise_(wait)
                row = await read_row(database)
                await suspicions.clear()
                answers.append((said, row, await read_row(database)))
            assert answers[0] == answers[1]
    finally:
        await real.close()


def _booking_id(hold_id: HoldId) -> BookingId:
    return BookingId(hold_id.replace("hold_", "bkg_"))
