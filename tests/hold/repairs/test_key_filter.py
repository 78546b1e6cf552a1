"""Of which keys Redis knows that they were granted nothing, so that `sold_out` asks nobody else."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import text

from app.errors import IdempotencyKeyReused
from app.hold.epochs import current
from app.hold.epochs.current import CERTAIN_SECONDS
from app.hold.errors import SoldOut
from app.hold.redis import keys
from app.hold.redis.keys import MARKS, mark_of
from app.hold.repairs import key_filter
from app.hold.repairs.key_filter import IdempotencyKeyFilter
from app.hold.service import HoldService
from app.idempotency.model import IdempotencyKey
from app.ids import HoldId, first_id
from app.wiring import Core
from tests.booking.staging import execute
from tests.builders.holds import DEMO, key, request
from tests.fixtures.core import StartCore
from tests.hold.histories.steps import SEATS, hold_one, lose_and_rebuild, on_sale, promise_of

DAY = 24 * 3600


@pytest.fixture
async def holds(core: Core, monkeypatch: pytest.MonkeyPatch) -> HoldService:
    """One seat, of an epoch in which every key is marked; nobody looks again while a test lasts."""
    monkeypatch.setattr(current, "CERTAIN_SECONDS", 60.0)
    holds = await on_sale(core, 1)
    await core.repairs[IdempotencyKeyFilter].run_once()
    return holds


async def refused(holds: HoldService, asked: IdempotencyKey | None = None) -> bool:
    """Whether the key is answered `sold_out`; else it has an answer."""
    answer = await holds.try_place(DEMO, request((SEATS, "Y")), asked or key())
    return isinstance(answer, SoldOut)


async def reads(core: Core, work: Callable[[], Awaitable[object]]) -> int:
    """Rows of the journal that it asked for."""
    asked: list[HoldId] = []
    read = core.journal.read

    async def counted(hold_id: HoldId) -> object:
        asked.append(hold_id)
        return await read(hold_id)

    core.journal.read = counted  # type: ignore[method-assign,assignment]
    try:
        await work()
    finally:
        del core.journal.read
    return len(asked)


async def forget(core: Core, hold_id: HoldId) -> None:
    """As age does to what ended."""
    await core.redis.delete((await core.epochs.life()).keys.memo(hold_id))


async def marks(core: Core) -> list[str]:
    names = (await core.epochs.life()).keys
    found = [key.decode() async for key in core.redis.scan_iter(names.prefix + "granted:*")]
    return sorted(set(found) - {names.all_granted})


async def test_a_new_key_is_refused_without_the_journal(core: Core, holds: HoldService) -> None:
    await hold_one(holds)
    assert await reads(core, lambda: refused(holds)) == 0
    assert await refused(holds)


async def test_a_key_whose_hold_redis_forgot_has_its_first_answer(
    core: Core, holds: HoldService
) -> None:
    asked = key()
    first = await hold_one(holds, asked)
    await holds.release(DEMO, first.hold_id)
    await forget(core, first.hold_id)
    await hold_one(holds)

    again = await holds.place(DEMO, request((SEATS, "Y")), asked)
    assert again.replayed
    assert again.value.hold_id == first.hold_id
    with pytest.raises(IdempotencyKeyReused):
        await holds.place(DEMO, request((SEATS, "Y")), key(asked.key, body="b"))


@pytest.mark.parametrize(("time_of_day", "days"), [(1800, 3), (5400, 2)], ids=["00:30", "01:30"])
async def test_a_mark_lasts_for_a_day_and_an_hour(
    core: Core, holds: HoldService, time_of_day: int, days: int
) -> None:
    number = (await core.redis.time())[0] // DAY + 1
    await core.redis.set(keys.CLOCK, (number * DAY + time_of_day) * 1_000_000)
    asked = key()
    first = await hold_one(holds, asked)
    await holds.release(DEMO, first.hold_id)
    await forget(core, first.hold_id)
    await hold_one(holds)
    names = (await core.epochs.life()).keys
    today = names.granted_on(number)
    assert await marks(core) == [today]

    for ago in range(days):
        await core.redis.rename(today, names.granted_on(number - ago))
        assert await reads(core, lambda: refused(holds, asked)) == 1, f"{ago} days ago"
        await core.redis.rename(names.granted_on(number - ago), today)
    await core.redis.rename(today, names.granted_on(number - days))
    assert await reads(core, lambda: refused(holds, asked)) == 0


async def test_a_new_day_lets_go_of_days_that_nobody_looks_at(
    core: Core, holds: HoldService
) -> None:
    names = (await core.epochs.life()).keys
    today = (await core.redis.time())[0] // DAY
    for ago in range(1, 5):
        await core.redis.setbit(names.granted_on(today - ago), 1, 1)
    await hold_one(holds)
    assert await marks(core) == [names.granted_on(today - ago) for ago in (2, 1, 0)]


async def test_marks_are_made_on_a_day_that_scripts_will_look_at(
    core: Core, holds: HoldService
) -> None:
    """The clock of Redis may be ahead while they are made: no script's runs behind them afterwards."""
    before = await core.redis.get(keys.CLOCK)
    await core.redis.delete((await core.epochs.life()).keys.all_granted)
    await start_again(core).run_once()
    after = await core.redis.get(keys.CLOCK)
    assert before is not None
    assert after is not None
    assert int(after) > int(before)


async def test_grants_of_before_are_marked_in_the_same_epoch_too(
    core: Core, holds: HoldService
) -> None:
    """As where they were granted by processes, all stopped by now, that made no marks."""
    asked = key()
    first = await hold_one(holds, asked)
    await holds.release(DEMO, first.hold_id)
    await forget(core, first.hold_id)
    names = (await core.epochs.life()).keys
    await core.redis.delete(names.all_granted, *await marks(core))
    await start_again(core).run_once()
    await hold_one(holds)
    assert not await refused(holds, asked)


def start_again(core: Core) -> IdempotencyKeyFilter:
    return IdempotencyKeyFilter(core.database, core.epochs)


@pytest.mark.parametrize("is_one_instant", [False, True], ids=["spread", "one instant"])
async def test_what_earlier_epochs_granted_is_marked_before_anyone_is_sure(
    core: Core, holds: HoldService, monkeypatch: pytest.MonkeyPatch, *, is_one_instant: bool
) -> None:
    monkeypatch.setattr(key_filter, "PAGE", 2)
    monkeypatch.setattr(key_filter, "PAUSE_SECONDS", 0)
    before = [key() for _ in range(5)]
    for asked in before:
        await holds.release(DEMO, (await hold_one(holds, asked)).hold_id)
    if is_one_instant:
        await execute(core, "UPDATE hold_journal SET granted_at = now()")
    await lose_and_rebuild(core)
    await hold_one(holds)
    assert await reads(core, lambda: refused(holds)) == 1, "no key is new for sure"

    await core.repairs[IdempotencyKeyFilter].run_once()
    assert await reads(core, lambda: refused(holds)) == 0
    for asked in before:
        assert not await refused(holds, asked)


async def test_a_key_is_marked_whichever_attempt_was_answered(
    core: Core, holds: HoldService
) -> None:
    asked = key()
    promise = await promise_of(core, (await hold_one(holds)).hold_id)
    await holds.release(DEMO, promise.hold_id)
    aborted = first_id(DEMO, asked.key)
    await core.database.run_in_transaction(
        lambda session: session.execute(
            text(
                "INSERT INTO hold_journal SELECT (jsonb_populate_record(j, jsonb_build_object("
                "'hold_id', CAST(:id AS text), 'idempotency_key', CAST(:key AS text),"
                " 'state', 'ABORTED', 'granted_at', timestamptz 'epoch'))).*"
                " FROM hold_journal AS j WHERE hold_id = :like"
            ),
            {"id": aborted, "key": asked.key, "like": promise.hold_id},
        )
    )
    second = await hold_one(holds, asked)
    assert (await promise_of(core, second.hold_id)).attempt == 2
    await holds.release(DEMO, second.hold_id)
    await lose_and_rebuild(core)
    await core.repairs[IdempotencyKeyFilter].run_once()
    await hold_one(holds)
    assert not await refused(holds, asked)


async def test_one_process_at_a_time_marks(start_core: StartCore) -> None:
    one, other = await start_core(), await start_core()
    await on_sale(one, 1)
    names = (await one.epochs.life()).keys
    await one.redis.set(names.marking, 1, px=60_000)
    await other.repairs[IdempotencyKeyFilter].run_once()
    assert not await one.redis.exists(names.all_granted)
    await one.redis.delete(names.marking)
    await other.repairs[IdempotencyKeyFilter].run_once()
    assert await one.redis.exists(names.all_granted)
    await one.redis.delete(names.marking)
    await one.repairs[IdempotencyKeyFilter].run_once()
    assert not await one.redis.exists(names.marking), "it has seen that all is done"


async def test_who_has_not_looked_for_a_while_is_sure_of_nothing(
    core: Core, holds: HoldService
) -> None:
    await hold_one(holds)
    assert await reads(core, lambda: refused(holds)) == 0
    core.epochs._learned_at -= 60
    assert await reads(core, lambda: refused(holds)) == 1


async def test_no_epoch_opens_while_somebody_may_be_certain_of_the_one_before(
    core: Core, holds: HoldService
) -> None:
    loop = asyncio.get_running_loop()
    await hold_one(holds)
    begun = loop.time()
    await core.guardian.start_over()
    assert loop.time() - begun >= CERTAIN_SECONDS


def test_marks_are_spread_over_all_bits() -> None:
    found = {mark_of(first_id(DEMO, f"key-{number}")) for number in range(20_000)}
    assert all(0 <= mark < MARKS for mark in found)
    assert len(found) > 19_950, "20,000 of 16 million: a dozen meet"
