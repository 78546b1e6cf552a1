"""Redis is lost and loaded again while others book, cancel, sleep or rebuild too."""

import asyncio

import pytest

from app.clock import utc_now
from app.errors import HoldStoreUnavailable
from app.hold.errors import HoldExpired, SoldOut
from app.hold.journal import scans
from app.hold.model import JournalState, MemoState
from app.hold.redis.holds import RedisHolds
from app.hold.redis.scripts import EpochMoved
from app.hold.repairs.inventory_sync import InventorySync
from app.ids import FlightId, HoldId
from app.inventory import pages
from app.inventory.model import InventoryRow
from app.inventory.store import read_rows
from app.outbox import store as outbox
from app.wiring import Core
from tests.booking.conftest import Rows
from tests.booking.staging import (
    SECOND,
    Crashed,
    clock_passes,
    is_sold_out,
    memo_of,
    numbers,
    service,
)
from tests.builders.bookings import wanted
from tests.builders.holds import DEMO, key, no_offers
from tests.fixtures.core import StartCore
from tests.hold.histories.steps import (
    SEATS,
    after_loading,
    hold_one,
    let_lease_run_out,
    lose_and_rebuild,
    lose_redis,
    on_sale,
    promise_of,
)


async def rows_in_postgres(core: Core) -> list[InventoryRow]:
    async with core.database.reading() as session:
        return await read_rows(session, [FlightId(SEATS)])


async def test_a_booking_made_while_redis_is_loaded_is_known_when_it_opens(
    start_core: StartCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The snapshot has it as a hold, and the process that booked it ends before it can tell Redis: as
    a mere hold its time would pass, and the seat would go to somebody else.
    """
    core = await start_core(ttl=2 * SECOND)
    holds = await on_sale(core, 1)
    hold = await hold_one(holds)

    async def book() -> None:
        await service(core, background=Crashed()).confirm(DEMO, wanted(hold), key())

    after_loading(monkeypatch, book)
    await lose_and_rebuild(core)

    assert await memo_of(core, hold) is MemoState.SOLD
    await clock_passes(hold.expires_at)
    assert await is_sold_out(holds)
    now = await numbers(core)
    assert (now.sold, now.held) == ((1,), (0,))


async def test_a_release_made_while_redis_is_loaded_is_known_when_it_opens(
    start_core: StartCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = await start_core()
    holds = await on_sale(core, 1)
    hold = await hold_one(holds)
    monkeypatch.setattr(core.background, "start", Crashed().start)

    async def release() -> None:
        await holds.release(DEMO, hold.hold_id)

    after_loading(monkeypatch, release)
    await lose_and_rebuild(core)
    assert not await is_sold_out(holds)


async def test_a_cancellation_that_redis_hears_of_twice_frees_its_seat_once(
    start_core: StartCore,
) -> None:
    """Its process told Redis late, again after Redis was lost: the load had counted it already, and
    since then the seat was sold anew.
    """
    core = await start_core()
    holds = await on_sale(core, 2)
    first, second = await hold_one(holds), await hold_one(holds)
    booked = (await service(core).confirm(DEMO, wanted(first), key())).value
    await service(core).confirm(DEMO, wanted(second), key())
    await core.background.drain(5)

    await service(core).cancel(DEMO, booked.booking_id, key())
    late = await rows_in_postgres(core)
    await lose_and_rebuild(core)
    await core.availability.apply(late)
    assert (await numbers(core)).sold == (1,)
    third = await hold_one(holds)
    await service(core).confirm(DEMO, wanted(third), key())
    await core.background.drain(5)

    await core.availability.apply(late)

    assert (await numbers(core)).sold == (2,)
    assert await is_sold_out(holds)


async def test_a_cancellation_that_redis_never_heard_of_frees_its_seat_all_the_same(
    start_core: StartCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = await start_core()
    holds = await on_sale(core, 1)
    booked = (await service(core).confirm(DEMO, wanted(await hold_one(holds)), key())).value
    await core.background.drain(5)

    async def ended(rows: object) -> None:
        """The process ended between the commit and its word to Redis."""

    with monkeypatch.context() as crash:
        crash.setattr(core.availability, "apply", ended)
        await service(core).cancel(DEMO, booked.booking_id, key())
    assert await is_sold_out(holds)

    await core.database.run_in_transaction(lambda session: outbox.number(session, 10))
    await core.repairs[InventorySync].run_once()
    assert not await is_sold_out(holds)


async def test_a_hold_that_had_run_out_is_not_revived_beside_its_heir(
    start_core: StartCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The heir is booked, so no live row of the journal tells that its time was ever reached; a
    booking of the one that ran out, made from the journal alone, would take an extended hold's seat.
    """
    core = await start_core(ttl=2 * SECOND)
    holds = await on_sale(core, 2)
    extended, ran_out = await hold_one(holds), await hold_one(holds)
    await holds.extend(DEMO, extended.hold_id, None)
    await clock_passes(ran_out.expires_at)
    heir = await hold_one(holds)
    await service(core).confirm(DEMO, wanted(heir), key())
    await core.background.drain(5)
    assert (await promise_of(core, ran_out.hold_id)).state == "HELD", "nobody told the journal"

    async def book_both() -> None:
        with pytest.raises(HoldExpired):
            await service(core).confirm(DEMO, wanted(ran_out), key())
        await service(core).confirm(DEMO, wanted(extended), key())

    after_loading(monkeypatch, book_both)
    await lose_and_rebuild(core)
    await core.background.drain(5)
    now = await numbers(core)
    assert (now.sold, now.held) == ((2,), (0,))


async def test_a_rebuilder_that_slept_writes_nothing_into_a_newer_epoch(
    start_core: StartCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease ran out in the middle of loading; another opened the next epoch and sold the seat."""
    asleep, awake = await start_core(), await start_core()
    holds = await on_sale(asleep, 1)
    hold = await hold_one(holds)
    async with asleep.database.reading() as session:
        (live,) = await scans.live_among(session, [hold.hold_id])
        memos = await scans.memo_page(session, "", 10)
        old_rows = await pages.packed_rows(session, utc_now(), pages.FIRST, pages.LAST, 10)
    assert memos is not None
    assert old_rows is not None
    epoch = await asleep.epochs.number()

    async def overtake() -> None:
        await let_lease_run_out(awake)
        await awake.guardian.ensure_open()
        await service(awake).confirm(DEMO, wanted(hold), key())
        await awake.background.drain(5)

    after_loading(monkeypatch, overtake)
    with pytest.raises((HoldStoreUnavailable, EpochMoved)):
        await lose_and_rebuild(asleep)

    assert await awake.epochs.number() == epoch + 2
    slept = asleep.epochs_in_redis.life(epoch + 1)
    for step in (
        slept.loading.load_rows(old_rows.text),
        slept.loading.load_part(99, memos=memos.text),
        slept.loading.load_holds([live]),
        slept.holds.end(hold.hold_id, JournalState.RELEASED, loading=True),
        slept.loading.open(live.granted_at),
    ):
        with pytest.raises(EpochMoved):
            await step
    assert await is_sold_out(awake.holds(no_offers))
    assert await is_sold_out(holds)
    now = await numbers(awake)
    assert (now.sold, now.held) == ((1,), (0,))


async def test_a_load_that_was_flushed_in_the_middle_opens_nothing(
    start_core: StartCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = await start_core()
    holds = await on_sale(core, 1)
    hold = await hold_one(holds)

    async def flush() -> None:
        await lose_redis(core)

    after_loading(monkeypatch, flush)
    with pytest.raises((HoldStoreUnavailable, EpochMoved)):
        await lose_and_rebuild(core)
    with pytest.raises(HoldStoreUnavailable):
        await hold_one(holds)

    await core.guardian.ensure_open()
    assert await is_sold_out(holds)
    assert await memo_of(core, hold) is MemoState.HELD


async def test_a_rebuilder_that_slept_does_not_declare_another_s_epoch_ready(
    start_core: StartCore, monkeypatch: pytest.MonkeyPatch, rows: Rows
) -> None:
    """The newer one has not read again what was booked meanwhile: until then bookings need no pin."""
    asleep, awake = await start_core(), await start_core()
    await hold_one(await on_sale(asleep, 1))
    epoch = await asleep.epochs.number()
    was_overtaken, may_go_on = asyncio.Event(), asyncio.Event()
    newer: list[asyncio.Task[None]] = []

    async def load_slowly() -> None:
        await let_lease_run_out(awake)  # so that only the epoch's own row can tell the two apart
        was_overtaken.set()
        await may_go_on.wait()

    async def overtake() -> None:
        await let_lease_run_out(awake)
        after_loading(monkeypatch, load_slowly)
        newer.append(asyncio.create_task(awake.guardian.ensure_open()))
        await was_overtaken.wait()

    after_loading(monkeypatch, overtake)
    with pytest.raises((HoldStoreUnavailable, EpochMoved)):
        await lose_and_rebuild(asleep)
    between = await rows("SELECT epoch, mode FROM redis_epoch")
    may_go_on.set()
    await newer[0]

    assert between == [{"epoch": epoch + 2, "mode": "rebuilding"}]
    assert await rows("SELECT epoch, mode FROM redis_epoch") == [
        {"epoch": epoch + 2, "mode": "redis"}
    ]
    assert await is_sold_out(awake.holds(no_offers))


async def test_an_extension_that_redis_did_not_hear_of_is_not_in_the_journal(
    start_core: StartCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else Redis gives the seat away at the first time, and a load brings back both."""
    core = await start_core(ttl=2 * SECOND)
    holds = await on_sale(core, 1)
    hold = await hold_one(holds)

    async def lost(self: RedisHolds, hold_id: HoldId) -> None:
        raise HoldStoreUnavailable

    with monkeypatch.context() as away:
        away.setattr(RedisHolds, "extend", lost)
        with pytest.raises(HoldStoreUnavailable):
            await holds.extend(DEMO, hold.hold_id, None)
    await clock_passes(hold.expires_at)
    heir = await hold_one(holds)
    await lose_and_rebuild(core)

    assert (await numbers(core)).held == (1,)
    with pytest.raises(HoldExpired):
        await service(core).confirm(DEMO, wanted(hold), key())
    await service(core).confirm(DEMO, wanted(heir), key())
    with pytest.raises(SoldOut):
        await hold_one(holds)
