"""Ceilings come down again, and nobody who was promised a seat meets one: on real servers."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import timedelta

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import text

from app.clock import utc_now
from app.hold.errors import HoldExpired, SoldOut
from app.hold.model import Hold
from app.hold.redis.seats import RedisSeats, TakenSeats
from app.hold.repairs.ceilings import CeilingReducer
from app.hold.repairs.expirer import Expirer
from app.ids import BookingId, FlightId
from app.inventory.model import CabinCounts, CabinName
from app.schedule.changes import CabinChange, ClassChange
from app.schedule.service import ScheduleService
from app.wiring import Core
from tests.builders.bookings import booking_service, wanted
from tests.builders.flights import flight
from tests.builders.holds import DEMO, key, no_offers, request
from tests.fixtures.core import StartCore, sell_from

SOUTH = FlightId("flt_south")  # ten seats in Y of which six may be M
CABIN = (SOUTH, CabinName.ECONOMY)


async def ceilings(core: Core) -> list[int]:
    async with core.database.reading() as session:
        found = await session.execute(text("SELECT ceilings FROM inventory"))
    return list(found.scalar_one())


async def held(core: Core, letter: str = "Y", seats: int = 1) -> Hold:
    asked = request((SOUTH, letter), adults=seats)
    return (await core.holds(no_offers).place(DEMO, asked, key())).value


async def limit(core: Core, **levels: int) -> None:
    schedule = ScheduleService(core.database, core.availability, utc_now)
    classes = tuple(ClassChange(letter, limit=level) for letter, level in levels.items())
    await schedule.patch(SOUTH, [CabinChange(CabinName.ECONOMY, classes)])


async def book(core: Core, hold: Hold) -> BookingId:
    booked = (await booking_service(core).confirm(DEMO, wanted(hold), key())).value
    await core.background.drain(5)
    return booked.booking_id


def oversells_stopped() -> float:
    """How often the guard stopped a booking: it must never have to."""
    count = REGISTRY.get_sample_value("holdfast_oversells_stopped_total")
    assert count is not None
    return count


async def test_a_ceiling_follows_what_is_taken_down_to_the_limit(core: Core) -> None:
    await sell_from(core, flight(flight_id=SOUTH))
    first, second = await held(core, "Y", 4), await held(core, "M", 3)
    assert await core.repairs[CeilingReducer].run_once() == 0, "no limit was lowered"
    await limit(core, Y=2, M=1)
    assert await ceilings(core) == [10, 6]
    assert await core.repairs[CeilingReducer].run_once() == 1
    assert await ceilings(core) == [7, 3], "what is held above the limit can still be booked"
    await book(core, second)
    assert await core.repairs[CeilingReducer].run_once() == 0
    await core.holds(no_offers).release(DEMO, first.hold_id)
    assert await core.repairs[CeilingReducer].run_once() == 1
    assert await ceilings(core) == [3, 3], "three are sold"
    assert await core.repairs[CeilingReducer].run_once() == 0


async def test_the_highest_limit_of_late_counts_for_nothing_once_it_is_tight(core: Core) -> None:
    await sell_from(core, flight(flight_id=SOUTH))
    await limit(core, Y=2)
    assert await core.repairs[CeilingReducer].run_once() == 1
    assert await ceilings(core) == [2, 6]
    await limit(core, Y=5)
    assert await ceilings(core) == [5, 6]
    hold = await held(core, "Y", 5)
    await book(core, hold)
    with pytest.raises(SoldOut):
        await held(core)


Step = Callable[[], Awaitable[object]]


def between(core: Core, monkeypatch: pytest.MonkeyPatch, step: Step) -> None:
    """The step is taken once, after Redis counted and before Postgres is asked."""
    count = RedisSeats.taken_seats
    steps = [step]

    async def counted(
        self: RedisSeats, cabins: Sequence[tuple[FlightId, CabinName]]
    ) -> list[TakenSeats | None]:
        found = await count(self, cabins)
        while steps:
            await steps.pop()()
        return found

    monkeypatch.setattr(RedisSeats, "taken_seats", counted)


@pytest.mark.parametrize("step", ["book", "cancel", "lower", "raise", "epoch"])
async def test_what_was_counted_is_of_no_use_when_the_row_or_the_epoch_moved(
    core: Core, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    await sell_from(core, flight(flight_id=SOUTH))
    booking_id = await book(core, await held(core, "Y", 2))
    hold = await held(core, "M", 3)
    await limit(core, Y=6, M=2)

    async def lose() -> None:
        await core.redis.flushall()
        await core.guardian.ensure_open()

    steps: dict[str, Step] = {
        "book": lambda: book(core, hold),
        "cancel": lambda: booking_service(core).cancel(DEMO, booking_id, None),
        "lower": lambda: limit(core, Y=4),
        "raise": lambda: limit(core, Y=9),
        "epoch": lose,
    }
    between(core, monkeypatch, steps[step])
    assert await core.repairs[CeilingReducer].run_once() == 0
    assert await ceilings(core) == [10, 6]
    assert await core.repairs[CeilingReducer].run_once() == 1
    after = {"book": [6, 3], "cancel": [6, 3], "lower": [5, 3], "raise": [9, 3], "epoch": [6, 3]}
    assert await ceilings(core) == after[step]
    if step != "book":
        await book(core, hold)


async def test_a_hold_that_comes_between_is_under_the_ceiling_already(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sell_from(core, flight(flight_id=SOUTH))
    await limit(core, Y=2)
    placed: list[Hold] = []

    async def hold() -> None:
        placed.append(await held(core, "Y", 2))

    between(core, monkeypatch, hold)
    assert await core.repairs[CeilingReducer].run_once() == 1
    assert await ceilings(core) == [2, 6]
    await book(core, placed[0])


async def test_what_ran_out_counts_until_the_journal_is_told(start_core: StartCore) -> None:
    """Else a rebuild finds it HELD there, where it can be booked without a word of Redis, and the
    booking meets the guard.
    """
    core = await start_core(ttl=timedelta(seconds=1))
    await sell_from(core, flight(flight_id=SOUTH))
    hold = await held(core, "Y", 3)
    await limit(core, Y=0, M=0)
    while (await core.availability.counts([CABIN]))[0] != CabinCounts((0, 0), (0, 0), (0, 0)):
        await core.epochs.run(lambda life: life.holds.expire_due())
    assert await core.repairs[CeilingReducer].run_once() == 1
    assert await ceilings(core) == [3, 0]

    await core.redis.flushall()  # before the journal was told
    await core.guardian.ensure_open()
    stopped = oversells_stopped()
    with suppress(HoldExpired):
        await book(core, hold)
    assert oversells_stopped() == stopped


async def test_once_the_journal_was_told_it_counts_no_more(start_core: StartCore) -> None:
    core = await start_core(ttl=timedelta(seconds=1))
    await sell_from(core, flight(flight_id=SOUTH))
    await held(core, "Y", 3)
    await limit(core, Y=0, M=0)
    while await ceilings(core) != [0, 0]:
        await core.repairs[Expirer].run_once()
        await core.repairs[CeilingReducer].run_once()


async def test_more_untold_holds_than_can_be_counted_are_no_ground_to_lower(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sell_from(core, flight(flight_id=SOUTH))
    await limit(core, Y=0)
    ended = (await core.epochs.life()).keys.ended
    await core.redis.sadd(ended, "hold_forgotten")
    assert await core.repairs[CeilingReducer].run_once() == 0, "nobody knows whose seats these were"
    await core.redis.srem(ended, "hold_forgotten")
    monkeypatch.setattr("app.hold.redis.seats.UNRECORDED_MAX", -1)
    assert await core.repairs[CeilingReducer].run_once() == 0
    monkeypatch.undo()
    assert await core.repairs[CeilingReducer].run_once() == 1


async def test_under_load_no_promise_meets_a_ceiling(core: Core) -> None:
    """Limits go up and down while seats are held, booked, cancelled and let go, and two tighten."""
    await sell_from(core, flight(flight_id=SOUTH))
    chance = random.Random(7)
    stopped = oversells_stopped()
    running = True
    bookings = booking_service(core)

    async def sell() -> int:
        made = 0
        while running:
            try:
                hold = await held(core, chance.choice("YM"), chance.randint(1, 2))
            except SoldOut:
                await asyncio.sleep(0.002)
                continue
            if chance.random() < 0.3:
                await core.holds(no_offers).release(DEMO, hold.hold_id)
                continue
            booked = (await bookings.confirm(DEMO, wanted(hold), key())).value
            made += 1
            await bookings.cancel(DEMO, booked.booking_id, None)
        return made

    async def change() -> None:
        while running:
            await limit(core, Y=chance.randint(0, 10), M=chance.randint(0, 6))

    async def tighten() -> int:
        return sum(
            [await core.repairs[CeilingReducer].run_once() async for _ in _while(lambda: running)]
        )

    tasks = [asyncio.create_task(one()) for one in (sell, sell, sell, tighten, tighten)]
    changing = asyncio.create_task(change())
    await asyncio.sleep(3)
    running = False
    *made, first, second = await asyncio.gather(*tasks)
    await changing
    assert min(made) > 0
    assert first + second > 0
    assert oversells_stopped() == stopped
    await core.background.drain(5)
    await limit(core, Y=0, M=0)
    await core.repairs[CeilingReducer].run_once()
    assert await ceilings(core) == [0, 0]


async def _while(condition: Callable[[], bool]) -> AsyncIterator[None]:
    while condition():
        yield
