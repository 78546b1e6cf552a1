"""A hold that stayed pinned is settled by what the journal says, and by nothing else."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from app.hold.journal import store as journal
from app.hold.model import HoldStatus, JournalState, MemoState
from app.hold.repairs.resolver import PINNED_FOR, Resolver
from app.hold.service import HoldService
from app.ids import FlightId, HoldId
from app.inventory import store as inventory_store
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


async def pinned(core: Core, holds: HoldService) -> tuple[HoldId, int]:
    """A hold of two seats whose booking's process ended after the pin."""
    hold = (await holds.place(DEMO, request((SOUTH, "Y"), adults=2), key())).value
    proof = await core.pins.pin(hold.hold_id)
    assert proof.fencing_token is not None
    return hold.hold_id, proof.fencing_token


async def memo(core: Core, hold_id: HoldId) -> MemoState:
    return (await (await core.epochs.life()).holds.read_memos([hold_id]))[hold_id].state


async def seats(core: Core) -> tuple[int, int]:
    (counts,) = await core.availability.counts([(FlightId(SOUTH), CabinName.ECONOMY)])
    assert counts is not None
    return counts.sold[0], counts.held[0]


async def test_what_was_never_sold_is_a_hold_again(core: Core, holds: HoldService) -> None:
    hold_id, fence = await pinned(core, holds)
    assert await core.repairs[Resolver].run_once(PINNED_FOR) == 0, (
        "its booking may still be on the way"
    )
    assert await core.repairs[Resolver].run_once(NOW) == 1
    assert await memo(core, hold_id) is MemoState.HELD
    assert (await holds.get(DEMO, hold_id)).status is HoldStatus.ACTIVE

    async def late(session: WriteSession) -> bool:
        return hold_id in await journal.confirm(session, {hold_id: fence})

    assert not await core.database.run_in_transaction(late), "a late booking carries the old fence"
    assert await core.repairs[Resolver].run_once(NOW) == 0


async def test_what_was_sold_is_finished_with_the_rows_of_the_sale(
    core: Core, holds: HoldService
) -> None:
    hold_id, fence = await pinned(core, holds)

    async def sell(session: WriteSession) -> None:
        promise = await journal.lock(session, hold_id)
        assert promise is not None
        assert await journal.confirm(session, {hold_id: fence})
        assert isinstance(await inventory_store.add_sold(session, promise.lines), list)

    await core.database.run_in_transaction(sell)
    assert await seats(core) == (0, 2)
    assert await core.repairs[Resolver].run_once(NOW) == 1
    assert await memo(core, hold_id) is MemoState.SOLD
    assert await seats(core) == (2, 0)


async def test_what_was_released_meanwhile_is_let_go(core: Core, holds: HoldService) -> None:
    hold_id, _ = await pinned(core, holds)

    async def release(session: WriteSession) -> bool:
        return bool(await journal.release(session, [(DEMO, hold_id)]))

    assert await core.database.run_in_transaction(release)
    assert await core.repairs[Resolver].run_once(NOW) == 1
    assert await memo(core, hold_id) is MemoState.RELEASED
    assert await seats(core) == (0, 0)


async def test_what_nobody_was_promised_is_aborted(core: Core, holds: HoldService) -> None:
    hold_id, _ = await pinned(core, holds)

    async def forget(session: WriteSession) -> None:
        await session.execute(text("DELETE FROM hold_journal"))

    await core.database.run_in_transaction(forget)
    assert await core.repairs[Resolver].run_once(NOW) == 1
    assert await seats(core) == (0, 0)
    async with core.database.reading() as session:
        row = await journal.read(session, hold_id)
    assert row is not None
    assert row.state is JournalState.ABORTED
