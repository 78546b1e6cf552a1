"""What the journal does not promise is free again within seconds, whoever ended in the middle."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from app.hold.journal import scans
from app.hold.journal import store as journal
from app.hold.model import HoldStatus, JournalEntry, JournalState
from app.hold.repairs.sweeper import GRANTED_FOR, Sweeper
from app.hold.service import HoldService
from app.ids import FlightId, HoldId
from app.inventory.model import CabinName
from app.storage.database import WriteSession
from app.wiring import Core
from tests.builders.flights import flight
from tests.builders.holds import DEMO, key, no_offers, request
from tests.fixtures.core import sell_from

SOUTH = "flt_south"
NOW = timedelta(0)


@pytest.fixture
async def holds(core: Core) -> HoldService:
    await sell_from(core, flight(flight_id=SOUTH))
    return core.holds(no_offers)


async def held(core: Core) -> int:
    (counts,) = await core.availability.counts([(FlightId(SOUTH), CabinName.ECONOMY)])
    assert counts is not None
    return counts.held[0]


async def take_from_journal(core: Core, hold_id: HoldId) -> JournalEntry:
    """As if the process that granted it had ended, or were still on its way to the journal."""
    async with core.database.reading() as session:
        promise = await journal.read(session, hold_id)
    assert promise is not None

    async def take(session: WriteSession) -> None:
        await session.execute(text("DELETE FROM hold_journal WHERE hold_id = :id"), {"id": hold_id})

    await core.database.run_in_transaction(take)
    return promise


async def test_a_grant_without_a_promise_is_let_go_and_never_promised(
    core: Core, holds: HoldService
) -> None:
    kept = (await holds.place(DEMO, request((SOUTH, "Y"), adults=3), key())).value
    asked, same = request((SOUTH, "Y"), adults=2), key()
    lost = (await holds.place(DEMO, asked, same)).value
    promise = await take_from_journal(core, lost.hold_id)

    assert await core.repairs[Sweeper].run_once(GRANTED_FOR) == 0, "its row may be on the way"
    assert await core.repairs[Sweeper].run_once(NOW) == 1
    assert await held(core) == 3

    async def late(session: WriteSession) -> set[HoldId]:
        return await journal.append(session, [promise])

    assert await core.database.run_in_transaction(late) == set(), "the slow writer is too late"
    again = (await holds.place(DEMO, asked, same)).value
    assert again.hold_id != lost.hold_id
    assert (await holds.get(DEMO, kept.hold_id)).status is HoldStatus.ACTIVE
    assert await held(core) == 5


async def test_each_grant_is_looked_for_once(core: Core, holds: HoldService) -> None:
    for _ in range(3):
        await holds.place(DEMO, request((SOUTH, "Y")), key())
    life = await core.epochs.life()
    assert len(await life.holds.unverified_grants(NOW)) == 3
    assert await core.repairs[Sweeper].run_once(NOW) == 0
    assert await life.holds.unverified_grants(NOW) == []
    assert await held(core) == 3


async def test_a_release_that_redis_did_not_hear_of_is_carried_out(
    core: Core, holds: HoldService
) -> None:
    hold = (await holds.place(DEMO, request((SOUTH, "Y"), adults=4), key())).value

    async def release(session: WriteSession) -> bool:
        return bool(await journal.release(session, [(DEMO, hold.hold_id)]))

    assert await core.database.run_in_transaction(release)
    assert await held(core) == 4
    assert await core.repairs[Sweeper].run_once() == 1
    assert await held(core) == 0
    assert await core.repairs[Sweeper].run_once() == 0


async def test_nothing_is_swept_on_the_word_of_an_epoch_that_is_over(
    core: Core, holds: HoldService
) -> None:
    hold = (await holds.place(DEMO, request((SOUTH, "Y")), key())).value
    await take_from_journal(core, hold.hold_id)

    async def end_epoch(session: WriteSession) -> None:
        await session.execute(text("UPDATE redis_epoch SET mode = 'rebuilding'"))

    await core.database.run_in_transaction(end_epoch)
    assert await core.repairs[Sweeper].run_once(NOW) == 0
    async with core.database.reading() as session:
        assert await scans.states(session, [hold.hold_id]) == {}
    assert JournalState.ABORTED not in (await states(core)).values()


async def test_what_could_not_be_judged_is_looked_for_again(core: Core, holds: HoldService) -> None:
    """A rebuild that shut the gate and then gave up leaves the epoch as it was."""
    hold = (await holds.place(DEMO, request((SOUTH, "Y"), adults=2), key())).value
    await take_from_journal(core, hold.hold_id)

    await turn_gate(core, "clock_timestamp() + interval '1 hour'")
    assert await core.repairs[Sweeper].run_once(NOW) == 0
    await turn_gate(core, "'epoch'")
    assert await core.repairs[Sweeper].run_once(NOW) == 1
    assert await held(core) == 0


async def turn_gate(core: Core, closing_until: str) -> None:
    async def turn(session: WriteSession) -> None:
        statement = f"UPDATE epoch_gate SET closing_until = {closing_until}"
        await session.execute(text(statement))

    await core.database.run_in_transaction(turn)


async def states(core: Core) -> dict[str, JournalState]:
    async with core.database.reading() as session:
        rows = await session.execute(text("SELECT hold_id, state FROM hold_journal"))
        return {row.hold_id: JournalState(row.state) for row in rows}
