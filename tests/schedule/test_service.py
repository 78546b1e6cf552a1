"""Flights put and patched, on a real database; what Redis is told is written down."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from app.clock import utc_now
from app.errors import DatabaseUnavailable, NotFound, Overloaded, ValidationFailed
from app.ids import FlightId, TenantId
from app.inventory.model import CabinCounts, CabinName, InventoryRow, SeatLine
from app.inventory.store import add_sold, read_rows
from app.money import Money
from app.outbox.model import Event, EventType
from app.outbox.store import number, page
from app.schedule.changes import CabinChange, ClassChange
from app.schedule.errors import FlightInUse
from app.schedule.service import ScheduleService
from app.storage.database import Database, WriteSession
from tests.builders.flights import DEPARTING, cabin, flight
from tests.builders.hold_inventory import RecordingHoldInventory

ID = FlightId("flt_LA801-20270310")
ECONOMY = CabinName.ECONOMY
LATER = {"departing": DEPARTING + timedelta(hours=1)}


@pytest.fixture
async def database(empty_database: str) -> AsyncIterator[Database]:
    database = Database(empty_database)
    await _run(database, "UPDATE redis_epoch SET epoch = 1, mode = 'redis'")
    yield database
    await database.close()


@pytest.fixture
def holds() -> RecordingHoldInventory:
    return RecordingHoldInventory()


@pytest.fixture
def service(database: Database, holds: RecordingHoldInventory) -> ScheduleService:
    return ScheduleService(database, holds, utc_now)


async def _run(database: Database, statement: str) -> None:
    async def work(session: WriteSession) -> None:
        await session.execute(text(statement))

    await database.run_in_transaction(work)


async def _sell(database: Database, seats: int, position: int = 1) -> list[InventoryRow] | SeatLine:
    async def work(session: WriteSession) -> list[InventoryRow] | SeatLine:
        return await add_sold(session, [SeatLine(ID, ECONOMY, position, seats)])

    return await database.run_in_transaction(work)


async def _row(database: Database) -> InventoryRow:
    async with database.reading() as session:
        (row,) = await read_rows(session, [ID])
    return row


async def _events(database: Database) -> list[Event]:
    await database.run_in_transaction(lambda session: number(session, 100))
    async with database.reading() as session:
        entries = await page(
            session, TenantId("nobody"), include_shared=True, after_position=0, limit=100
        )
    return [entry.event for entry in entries]


def _limits(**limits: int) -> list[CabinChange]:
    classes = tuple(ClassChange(letter, limit=limit) for letter, limit in limits.items())
    return [CabinChange(ECONOMY, classes)]


async def test_a_new_flight_is_there_and_told_to_redis(
    service: ScheduleService, database: Database, holds: RecordingHoldInventory
) -> None:
    stored, is_new = await service.put(flight())
    assert (stored, is_new) == (flight(), True)
    assert await service.get(ID) == flight()
    assert holds.applied == [([InventoryRow(ID, ECONOMY, (10, 6), (0, 0), 1, 1)], False)]
    assert await _events(database) == []


async def test_the_same_flight_again_changes_nothing(
    service: ScheduleService, database: Database
) -> None:
    await service.put(flight())
    stored, is_new = await service.put(flight())
    assert (stored.version, is_new) == (1, False)
    assert (await _row(database)).version == 1
    assert await _events(database) == []


async def test_an_unknown_flight_is_not_found(service: ScheduleService) -> None:
    with pytest.raises(NotFound):
        await service.get(ID)
    with pytest.raises(NotFound):
        await service.patch(ID, _limits(Y=1))


async def test_limits_fares_and_capacity_change_while_seats_are_sold(
    service: ScheduleService, database: Database, holds: RecordingHoldInventory
) -> None:
    await service.put(flight())
    await _sell(database, 4)
    holds.epoch = None
    wanted = flight(
        cabins=(cabin((("Y", 3, Money(5, "CLP")), ("M", 2, Money(4, "CLP"))), capacity=9),)
    )
    stored, is_new = await service.put(wanted)
    assert stored == replace(wanted, version=2)
    assert not is_new
    assert holds.fenced == []
    assert holds.applied[-1] == ([InventoryRow(ID, ECONOMY, (3, 2), (4, 0), 3, 2)], False)
    (event,) = await _events(database)
    assert (event.type, event.sequence) == (EventType.FLIGHT_INVENTORY_CHANGED, 1)


@pytest.mark.parametrize(
    "varied",
    [
        LATER,
        {"destination": "LIM"},
        {"carrier": "AV"},
        {"classes": (("Y", 10, Money(1, "CLP")),)},
        {"cabins": (cabin(name=CabinName.BUSINESS),)},
    ],
)
async def test_the_shape_changes_while_nobody_has_a_seat(
    service: ScheduleService,
    database: Database,
    holds: RecordingHoldInventory,
    varied: dict[str, object],
) -> None:
    await service.put(flight())
    wanted = flight(**varied)  # type: ignore[arg-type]
    stored, is_new = await service.put(wanted)
    assert stored == replace(wanted, version=2)
    assert not is_new
    assert await service.get(ID) == stored
    assert holds.fenced == [ID]
    rows, lift_barrier = holds.applied[-1]
    assert lift_barrier
    assert [(row.version, row.flight_version) for row in rows] == [(2, 2)]  # newer than before
    assert len(await _events(database)) == 1


@pytest.mark.parametrize("varied", [LATER, {"destination": "LIM"}, {"flight_number": "803"}])
async def test_held_seats_keep_the_shape(
    service: ScheduleService, holds: RecordingHoldInventory, varied: dict[str, object]
) -> None:
    await service.put(flight())
    holds.epoch = None
    with pytest.raises(FlightInUse):
        await service.put(flight(**varied))  # type: ignore[arg-type]
    assert await service.get(ID) == flight()


async def test_sold_seats_keep_the_shape_and_the_fence_is_lifted(
    service: ScheduleService, database: Database, holds: RecordingHoldInventory
) -> None:
    await service.put(flight())
    await _sell(database, 1)
    with pytest.raises(FlightInUse):
        await service.put(flight(**LATER))  # type: ignore[arg-type]
    assert await service.get(ID) == flight()
    assert holds.applied[-1][1] is True


async def test_a_sale_between_the_fence_and_the_change_keeps_the_shape(
    service: ScheduleService, database: Database, holds: RecordingHoldInventory
) -> None:
    await service.put(flight())
    holds.on_fence = lambda: _sell(database, 1)
    with pytest.raises(FlightInUse):
        await service.put(flight(**LATER))  # type: ignore[arg-type]


async def test_a_sale_under_way_is_waited_for(service: ScheduleService, database: Database) -> None:
    await service.put(flight())

    async def sale(session: WriteSession) -> asyncio.Task[object]:
        await add_sold(session, [SeatLine(ID, ECONOMY, 1, 1)])
        put: asyncio.Task[object] = asyncio.create_task(
            service.put(flight(**LATER))  # type: ignore[arg-type]
        )
        waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        async with asyncio.timeout(2):
            while (await session.execute(waiting)).scalar_one() == 0:  # noqa: ASYNC110 - the server says
                await asyncio.sleep(0.005)
        return put

    put = await database.run_in_transaction(sale)
    with pytest.raises(FlightInUse):
        await put


async def test_a_fence_of_another_epoch_is_worth_nothing(
    service: ScheduleService, database: Database, holds: RecordingHoldInventory
) -> None:
    await service.put(flight())
    holds.epoch = 7
    with pytest.raises(Overloaded):
        await service.put(flight(**LATER))  # type: ignore[arg-type]
    assert await service.get(ID) == flight()
    assert not any(lift_barrier for _, lift_barrier in holds.applied)


async def test_a_change_behind_the_fence_asks_for_a_new_one(
    service: ScheduleService, holds: RecordingHoldInventory
) -> None:
    await service.put(flight())

    async def meanwhile() -> None:
        if len(holds.fenced) == 1:
            await service.patch(ID, _limits(Y=5))

    holds.on_fence = meanwhile
    stored, _ = await service.put(flight(**LATER))  # type: ignore[arg-type]
    assert stored.version == 3
    assert len(holds.fenced) == 2


async def test_a_fence_that_may_have_fallen_is_not_trusted(
    service: ScheduleService, monkeypatch: pytest.MonkeyPatch
) -> None:
    await service.put(flight())
    monkeypatch.setattr("app.schedule.service.BARRIER_TRUSTED_SECONDS", -1)
    with pytest.raises(DatabaseUnavailable):
        await service.put(flight(**LATER))  # type: ignore[arg-type]
    assert await service.get(ID) == flight()


async def test_versions_only_grow_over_replacements(
    service: ScheduleService, database: Database
) -> None:
    await service.put(flight())
    await service.patch(ID, _limits(Y=9))
    await service.patch(ID, _limits(Y=8))
    await service.put(flight(**LATER))  # type: ignore[arg-type]
    assert (await _row(database)).version == 4


async def test_a_patch_answers_the_live_numbers(
    service: ScheduleService, holds: RecordingHoldInventory
) -> None:
    await service.put(flight())
    live = CabinCounts((2, 6), (1, 0), (3, 0))
    holds.live[ID] = {ECONOMY: live}
    stored, counts = await service.patch(ID, _limits(Y=2))
    assert stored.version == 2
    assert counts == {ECONOMY: live}


@pytest.mark.parametrize("is_away", [False, True])
async def test_what_redis_cannot_say_after_a_patch_the_rows_do(
    service: ScheduleService, database: Database, holds: RecordingHoldInventory, is_away: bool
) -> None:
    await service.put(flight())
    holds.is_away = is_away
    await _sell(database, 4)
    _, counts = await service.patch(ID, _limits(Y=2))
    assert counts == {ECONOMY: CabinCounts((2, 6), (4, 0), (0, 0))}


async def test_a_limit_below_what_is_taken_takes_nothing_away(
    service: ScheduleService, database: Database
) -> None:
    await service.put(flight())
    await service.patch(ID, _limits(Y=1, M=0))
    assert not isinstance(await _sell(database, 10), SeatLine)  # held before, booked after
    assert isinstance(await _sell(database, 1), SeatLine)
    await service.patch(ID, _limits(Y=12))
    assert not isinstance(await _sell(database, 2), SeatLine)


async def test_a_wrong_patch_changes_nothing(service: ScheduleService, database: Database) -> None:
    await service.put(flight())
    with pytest.raises(ValidationFailed):
        await service.patch(ID, [*_limits(Y=1), CabinChange(CabinName.FIRST, ())])
    assert await service.get(ID) == flight()
    assert await _events(database) == []


async def test_patches_at_the_same_time_lose_nothing(
    service: ScheduleService, database: Database
) -> None:
    await service.put(flight())
    await asyncio.gather(
        *(service.patch(ID, _limits(**{"YM"[n % 2]: n})) for n in range(1, 9)),
        *(_sell(database, 1) for _ in range(8)),
    )
    known = await service.get(ID)
    assert known.version == 9
    y, m = (one.limit for one in known.cabins[0].booking_classes)
    assert {y % 2, m % 2} == {0, 1}
    row = await _row(database)
    assert (row.sold, row.version) == ((8, 0), 17)
    events = await _events(database)
    assert [event.sequence for event in events] == list(range(1, 9))
    assert events[-1].tenant_id is None
    last = events[-1].data["cabins"][0]
    assert [one["limit"] for one in last["booking_classes"]] == [y, m]


async def test_the_same_new_flight_from_two_sides_is_created_once(
    service: ScheduleService,
) -> None:
    answers = await asyncio.gather(*(service.put(flight()) for _ in range(6)))
    assert sorted(is_new for _, is_new in answers) == [False] * 5 + [True]
