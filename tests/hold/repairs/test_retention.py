"""What ended long ago leaves; what is held never does, however old it looks."""

from sqlalchemy import text

from app.hold.repairs.retention import Retention
from app.storage.database import WriteSession
from app.wiring import Core
from tests.builders.flights import flight
from tests.builders.holds import DEMO, key, no_offers, request
from tests.fixtures.core import sell_from

SOUTH = "flt_south"


async def test_only_what_ended_thirty_days_ago_leaves(core: Core) -> None:
    await sell_from(core, flight(flight_id=SOUTH))
    holds = core.holds(no_offers)
    held, ended, fresh, sold = [
        (await holds.place(DEMO, request((SOUTH, "Y")), key())).value for _ in range(4)
    ]
    for hold in (ended, fresh):
        await holds.release(DEMO, hold.hold_id)
    extended = await holds.extend(DEMO, held.hold_id, key())

    async def age(session: WriteSession) -> None:
        await session.execute(
            text("UPDATE hold_journal SET granted_at = granted_at - interval '99 days'")
        )
        await session.execute(
            text(
                "UPDATE hold_journal SET ended_at = ended_at - interval '31 days' WHERE hold_id = :id"
            ),
            {"id": ended.hold_id},
        )
        await session.execute(
            text(
                "UPDATE hold_journal SET state = 'CONFIRMED', ended_at = 'epoch' WHERE hold_id = :id"
            ),
            {"id": sold.hold_id},
        )
        await session.execute(
            text("UPDATE idempotency_records SET expires_at = created_at - interval '1 day'")
        )

    await core.database.run_in_transaction(age)
    assert await core.repairs[Retention].run_once() == 2
    assert await core.repairs[Retention].run_once() == 0

    async with core.database.reading() as session:
        left = await session.execute(text("SELECT hold_id FROM hold_journal"))
        assert set(left.scalars()) == {held.hold_id, fresh.hold_id, sold.hold_id}
    assert extended.value.hold_id == held.hold_id
