"""A plan that the relay keeps must not read all facts there are, whenever it was made.

The server knows what is in a table as of when it last looked: nothing yet, an empty one, or one of
which all was still to be published.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime

import pytest
from sqlalchemy import TextClause, text

from app.ids import EventId
from app.outbox import delivery, lease_store, store
from app.outbox.lease_store import Lease
from app.outbox.model import Aggregate, Due, Event, EventType
from app.storage.database import Database, WriteSession
from tests.builders.plans import BEFORE_A_PLAN_IS_KEPT, rows_read

MANY, AT_ONCE = 5_000, 100
HELD = Lease("relay", 1)
Work = Callable[[WriteSession], Awaitable[object]]
_FILL = text(
    """
    INSERT INTO outbox (event_id, type, version, tenant_id, aggregate_type, aggregate_id, sequence,
                        occurred_at, data)
    SELECT 'evt_' || number, 'booking.confirmed', 1, 'demo', 'booking', 'bkg_' || number, 1,
           clock_timestamp(), '{}'
    FROM generate_series(1, :many) AS number
    """
)
# All but ten have left; half of those were refused by the bus, and have a place.
_PUBLISH = text(
    """
    UPDATE outbox SET position = 1000000 + number,
        published_at = CASE WHEN number <= :many - 10 THEN clock_timestamp() END
    FROM (SELECT event_id AS id, row_number() OVER (ORDER BY occurred_at, event_id) AS number
          FROM outbox) AS numbered
    WHERE event_id = id AND number <= :many - 5
    """
)
_LOOK = text("ANALYZE outbox")
STATES: dict[str, tuple[list[TextClause], list[TextClause]]] = {
    "nothing_known": ([_FILL], []),
    "empty": ([_LOOK], [_FILL, _PUBLISH]),
    "all_to_be_published": ([_FILL, _LOOK], [_PUBLISH]),
}
"""What happens before the server makes its plan, and after."""


def fact(number: int) -> Due:
    id_, booking = EventId(f"evt_{number}"), Aggregate("booking", f"bkg_{number}")
    now = datetime.now(UTC)
    event = Event(id_, EventType.BOOKING_CONFIRMED, 1, now, None, booking, 1, {})
    return Due(event, None, 0)


ASKED = [fact(number) for number in range(10)]
WORKS: dict[str, Work] = {
    "due": lambda s: delivery.due(s, HELD, AT_ONCE, except_for=[one.event.id for one in ASKED]),
    "some_follow": lambda s: delivery.some_follow(s, ASKED),
    "settle": lambda s: delivery.settle(s, HELD, [(one, None) for one in ASKED]),
    "number": lambda s: store.number(s, AT_ONCE),
    "numbered_after": lambda s: store.numbered_after(s, 0, AT_ONCE),
}


@pytest.fixture
async def database(empty_database: str) -> AsyncIterator[Database]:
    """One connection, which keeps its plans."""
    database = Database(empty_database, pool_size=1)

    async def prepare(session: WriteSession) -> None:
        assert await lease_store.acquire(session, HELD.holder, 3600.0) == HELD
        await session.execute(text("ALTER TABLE outbox SET (autovacuum_enabled = off)"))

    await database.run_in_transaction(prepare)
    yield database
    await database.close()


@pytest.mark.parametrize("state", list(STATES))
@pytest.mark.parametrize("name", list(WORKS))
async def test_what_the_relay_asks_reads_few_of_many_facts(
    database: Database, name: str, state: str
) -> None:
    async def read(session: WriteSession) -> int:
        before = await rows_read(session, "outbox")
        await WORKS[name](session)
        return await rows_read(session, "outbox") - before

    async def prepare(session: WriteSession, statements: Sequence[TextClause]) -> None:
        for statement in statements:
            await session.execute(
                statement, {"many": MANY} if "many" in statement._bindparams else {}
            )

    before, after = STATES[state]
    await database.run_in_transaction(lambda session: prepare(session, before))
    for _ in range(BEFORE_A_PLAN_IS_KEPT):
        await database.run_in_transaction(WORKS[name])
    await database.run_in_transaction(lambda session: prepare(session, after))
    assert await database.run_in_transaction(read) < 10 * AT_ONCE, "of five thousand"
