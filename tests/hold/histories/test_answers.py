"""What a key was answered first it is answered always; what was granted beside the answer is undone."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from app.hold.journal.batched import BatchedJournal
from app.hold.model import HoldStatus, JournalState, MemoState
from app.hold.repairs.sweeper import Sweeper
from app.ids import HoldId
from app.storage.database import WriteSession
from app.wiring import Core
from tests.booking.conftest import Rows
from tests.booking.staging import execute, is_sold_out, memo_of, numbers, service
from tests.builders.bookings import wanted
from tests.builders.holds import DEMO, key, no_offers, request
from tests.fixtures.core import StartCore
from tests.hold.histories.steps import (
    SEATS,
    append,
    hold_one,
    lose_and_rebuild,
    on_sale,
    promise_of,
    regrant,
)

NOW = timedelta(0)


async def test_a_key_whose_first_grant_was_aborted_gets_another_hold(
    start_core: StartCore, rows: Rows
) -> None:
    """The process ended after the script; by the time the client asks again the grant is swept, and
    its id, which comes from the key, can never be promised.
    """
    core, other = await start_core(), await start_core()
    holds, same = await on_sale(core, 1), key()
    lost = await hold_one(holds, same)
    entry = await promise_of(core, lost.hold_id)
    await execute(core, "DELETE FROM hold_journal")

    assert await other.repairs[Sweeper].run_once(NOW) == 1
    again = await hold_one(other.holds(no_offers), same)

    assert again.hold_id != lost.hold_id
    assert await append(core, [entry]) == set(), "the slow writer is too late"
    assert (await hold_one(holds, same)).hold_id == again.hold_id
    assert await rows("SELECT state, attempt FROM hold_journal WHERE tenant_id <> ''") == [
        {"state": "HELD", "attempt": 2}
    ]
    await service(core).confirm(DEMO, wanted(again), key())


async def test_an_aborted_key_is_answered_after_a_loss_too(core: Core) -> None:
    holds, same = await on_sale(core, 1), key()
    lost = await hold_one(holds, same)
    await execute(core, "DELETE FROM hold_journal")
    await core.repairs[Sweeper].run_once(NOW)
    await lose_and_rebuild(core)
    again = await hold_one(holds, same)
    assert again.hold_id != lost.hold_id
    now = await numbers(core)
    assert (now.sold, now.held) == ((0,), (1,))


@pytest.mark.parametrize("is_lost", [False, True], ids=["remembered", "lost"])
async def test_the_first_answer_is_repeated_after_an_extension(
    core: Core, *, is_lost: bool
) -> None:
    holds, same = await on_sale(core, 1), key()
    first = await hold_one(holds, same)
    extended = (await holds.extend(DEMO, first.hold_id, None)).value
    if is_lost:
        await lose_and_rebuild(core)

    answered = await holds.place(DEMO, request((SEATS, "Y")), same)

    assert (answered.value, answered.replayed) == (first, True)
    assert (await holds.get(DEMO, first.hold_id)).expires_at == extended.expires_at


async def test_a_late_duplicate_of_a_released_hold_keeps_no_seat(core: Core) -> None:
    """Redis lost the tombstone and grants afresh; the row of the journal is there already."""
    holds, same = await on_sale(core, 1), key()
    first = await hold_one(holds, same)
    await holds.release(DEMO, first.hold_id)
    await lose_and_rebuild(core)

    answered = await holds.place(DEMO, request((SEATS, "Y")), same)

    assert (answered.value, answered.replayed) == (first, True)
    assert await memo_of(core, first) is MemoState.RELEASED
    assert not await is_sold_out(holds)


async def test_a_late_duplicate_of_a_booked_hold_takes_no_second_seat(core: Core) -> None:
    holds, same = await on_sale(core, 2), key()
    first = await hold_one(holds, same)
    await service(core).confirm(DEMO, wanted(first), key())
    await core.background.drain(5)
    await lose_and_rebuild(core)

    answered = await holds.place(DEMO, request((SEATS, "Y")), same)

    assert (answered.value, answered.replayed) == (first, True)
    now = await numbers(core)
    assert (now.sold, now.held) == ((1,), (0,))


async def test_a_release_whose_process_ended_frees_the_seat_within_seconds(core: Core) -> None:
    holds = await on_sale(core, 1)
    hold = await hold_one(holds)
    await execute(core, "UPDATE hold_journal SET state = 'RELEASED', ended_at = clock_timestamp()")
    assert await is_sold_out(holds)
    assert await core.repairs[Sweeper].run_once() == 1
    assert not await is_sold_out(holds)
    assert (await holds.get(DEMO, hold.hold_id)).status is HoldStatus.RELEASED


async def test_each_promise_of_a_batch_is_decided_by_its_own_row(core: Core) -> None:
    """Promises of requests that arrive together are written in one statement: one of them is new, one
    was let go of, and one was granted in an epoch that is over.
    """
    released = await hold_one(await on_sale(core, 9))
    await core.holds(no_offers).release(DEMO, released.hold_id)
    row = await promise_of(core, released.hold_id)
    new = replace(row, hold_id=HoldId("hold_new"), state=JournalState.HELD)
    late = replace(new, hold_id=HoldId("hold_late"), epoch=row.epoch - 1)
    entries = BatchedJournal(core.database)

    first, *together = [
        asyncio.create_task(entries.append(entry))
        for entry in (replace(new, hold_id=HoldId("hold_first")), row, new, late)
    ]

    assert await first
    assert await asyncio.gather(*together) == [False, True, False]


@pytest.mark.parametrize("ended_as", [JournalState.RELEASED, JournalState.CONFIRMED])
async def test_a_duplicate_whose_process_ended_before_it_asked_the_journal_keeps_no_seat(
    core: Core, ended_as: JournalState
) -> None:
    """However long ago the first hold came to its end: its row says so, and nobody waits a whole TTL."""
    holds = await on_sale(core, 2)
    hold = await hold_one(holds)
    if ended_as is JournalState.CONFIRMED:
        await service(core).confirm(DEMO, wanted(hold), key())
    else:
        await holds.release(DEMO, hold.hold_id)
    await core.background.drain(5)
    sold = (await numbers(core)).sold
    await end_long_ago(core)
    await lose_and_rebuild(core)
    await regrant(core, await promise_of(core, hold.hold_id))
    assert (await numbers(core)).held == (1,)

    await core.repairs[Sweeper].run_once(NOW)

    now = await numbers(core)
    assert (now.sold, now.held) == (sold, (0,))
    assert (await promise_of(core, hold.hold_id)).state is ended_as


async def end_long_ago(core: Core) -> None:
    async def shift(session: WriteSession) -> None:
        await session.execute(
            text("UPDATE hold_journal SET ended_at = ended_at - interval '1 day'")
        )

    await core.database.run_in_transaction(shift)
