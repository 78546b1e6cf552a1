"""What may be refused, and on whose word: a process that lags behind knows less than it believes."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from app.errors import HoldStoreUnavailable
from app.hold.errors import SoldOut
from app.hold.model import Hold, HoldStatus, JournalState
from app.hold.repairs.key_filter import IdempotencyKeyFilter
from app.inventory.model import CabinName
from app.schedule.changes import CabinChange, ClassChange
from app.schedule.service import ScheduleService
from app.wiring import Core
from tests.booking.conftest import Rows
from tests.booking.staging import SECOND, clock_passes, is_sold_out, numbers, service
from tests.builders.bookings import wanted
from tests.builders.holds import DEMO, key, no_offers, request
from tests.fixtures.core import StartCore
from tests.fixtures.servers import StartValkey
from tests.hold.histories.steps import SEATS, hold_one, on_sale, promise_of

Ask = Callable[[Core, Hold], Awaitable[object]]


async def book(core: Core, hold: Hold) -> object:
    return await service(core).confirm(DEMO, wanted(hold), key())


async def extend(core: Core, hold: Hold) -> object:
    return await core.holds(no_offers).extend(DEMO, hold.hold_id, None)


async def read(core: Core, hold: Hold) -> object:
    return await core.holds(no_offers).get(DEMO, hold.hold_id)


@pytest.mark.parametrize("ask", [book, extend, read])
async def test_an_old_primary_that_never_saw_a_hold_does_not_refuse_it(
    start_core: StartCore, start_valkey: StartValkey, ask: Ask
) -> None:
    old, new = await start_valkey(), await start_valkey()
    behind = await start_core(redis_url=old.url)
    await on_sale(behind, 1)
    ahead = await start_core(redis_url=new.url)  # opens the next epoch on the new server
    hold = await hold_one(ahead.holds(no_offers))

    with pytest.raises(HoldStoreUnavailable):
        await ask(behind, hold)

    await behind.background.drain(5)
    assert (await promise_of(ahead, hold.hold_id)).state is JournalState.HELD
    await ask(ahead, hold)


@pytest.mark.parametrize("ask", [book, read])
async def test_an_old_primary_on_which_a_hold_has_run_out_does_not_refuse_it(
    start_core: StartCore, start_valkey: StartValkey, ask: Ask
) -> None:
    """It was extended on the new one."""
    old, new = await start_valkey(), await start_valkey()
    behind = await start_core(redis_url=old.url, ttl=2 * SECOND)
    hold = await hold_one(await on_sale(behind, 1))
    ahead = await start_core(redis_url=new.url, ttl=10 * SECOND)
    await ahead.holds(no_offers).extend(DEMO, hold.hold_id, None)
    await clock_passes(hold.expires_at)

    with pytest.raises(HoldStoreUnavailable):
        await ask(behind, hold)

    await behind.background.drain(5)
    assert (await promise_of(ahead, hold.hold_id)).state is JournalState.HELD
    await ask(ahead, hold)


async def test_who_is_left_behind_does_not_take_an_answered_key_for_a_new_one(
    start_core: StartCore, start_valkey: StartValkey
) -> None:
    """On the old primary the seat is somebody else's, who has let go of it on the new one."""
    old, new = await start_valkey(), await start_valkey()
    behind = await start_core(redis_url=old.url)
    forerunner = await hold_one(await on_sale(behind, 1))
    await behind.repairs[IdempotencyKeyFilter].run_once()
    left_behind = asyncio.create_task(_learning(behind))
    try:
        ahead = await start_core(redis_url=new.url)
        await asyncio.wait_for(left_behind, 5)
    finally:
        left_behind.cancel()
    holds, same = ahead.holds(no_offers), key()
    await holds.release(DEMO, forerunner.hold_id)
    first = await hold_one(holds, same)

    again = await behind.holds(no_offers).place(DEMO, request((SEATS, "Y")), same)
    assert again.value == first


async def _learning(core: Core) -> None:
    """As its guardian does, up to the last look before the epoch was over."""
    epochs = core.epochs
    while True:
        before = epochs._row, epochs._learned_at
        if not (await epochs.learn()).is_open:
            epochs._row, epochs._learned_at = before
            return
        await asyncio.sleep(0.01)


async def test_a_limit_below_what_is_taken_takes_nothing_away_from_anyone(
    core: Core, rows: Rows
) -> None:
    """Judged by the limit, the booking of a promised seat would be refused, or the change itself."""
    holds = await on_sale(core, 3)
    first, second = await hold_one(holds), await hold_one(holds)
    await service(core).confirm(DEMO, wanted(first), key())
    await core.background.drain(5)
    schedule = ScheduleService(core.database, core.availability, core.clock)

    for limit in (1, 0):
        await schedule.patch(second.segments[0].flight_id, [lowered(limit)])
        with pytest.raises(SoldOut):
            await hold_one(holds)
    await service(core).confirm(DEMO, wanted(second), key())
    await core.background.drain(5)

    now = await numbers(core)
    assert (now.limits, now.sold, now.held) == ((0,), (2,), (0,))
    assert await is_sold_out(holds)
    assert await rows("SELECT limits, ceilings, sold_total FROM inventory") == [
        {"limits": [0], "ceilings": [3], "sold_total": 2}
    ]


def lowered(limit: int) -> CabinChange:
    return CabinChange(CabinName.ECONOMY, (ClassChange("Y", limit),))


async def test_a_hold_that_redis_lost_sight_of_is_not_shown_as_ended(core: Core) -> None:
    hold = await hold_one(await on_sale(core, 1))
    epoch = await core.epochs.number()
    await core.redis.delete(f"{{hf}}:{epoch}:h:{hold.hold_id}")
    for ask in (book, extend, read):
        with pytest.raises(HoldStoreUnavailable):
            await ask(core, hold)
    await core.background.drain(5)
    await core.redis.delete("{hf}:epoch")
    await core.guardian.ensure_open()
    assert (await core.holds(no_offers).get(DEMO, hold.hold_id)).status is HoldStatus.ACTIVE
