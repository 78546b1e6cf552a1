"""A plan that was made while a table was empty is kept; it must not read all that came into it since.

So it is on the first day, until the server looks at the table again: within a minute, at best.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from app.hold.journal import scans
from app.hold.journal import store as journal
from app.hold.journal.store import NewEnd
from app.ids import HoldId, TenantId
from app.storage.database import Database, WriteSession
from tests.builders.plans import BEFORE_A_PLAN_IS_KEPT, rows_read

MANY = 3_000
ASKED = [HoldId(f"hold_{number}") for number in (1, 2, 3)]
DEMO = TenantId("demo")
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
Work = Callable[[WriteSession], Awaitable[object]]

WORKS: dict[str, Work] = {
    "read": lambda s: journal.read_all(s, ASKED),
    "states": lambda s: scans.states(s, ASKED),
    "live_among": lambda s: scans.live_among(s, ASKED),
    "confirm": lambda s: journal.confirm(s, dict.fromkeys(ASKED, 1)),
    "release": lambda s: journal.release(s, [(DEMO, one) for one in ASKED]),
    "expire": lambda s: journal.expire(s, ASKED),
    "just_ended": lambda s: scans.just_ended(s, 3600.0, 100),
    "granted_recently": lambda s: scans.granted_recently(s, LONG_AGO, 10),
    "drop_ended": lambda s: journal.drop_ended(s, 100),
    "extend": lambda s: journal.extend(s, [NewEnd(DEMO, one, datetime.now(UTC)) for one in ASKED]),
}
_FILL = text(
    """
    INSERT INTO hold_journal (
        hold_id, tenant_id, idempotency_key, attempt, request_hash, lines, segments, passengers, price,
        epoch, granted_at, expires_at, first_expires_at, state, ended_at)
    SELECT 'hold_' || name || number, 'demo', 'key-' || name || number, 1, '', '[]', '[]',
        '{"ADT": 1, "CHD": 0, "INF": 0}', '{"total": [0, "USD"], "passengers": []}', 1,
        clock_timestamp(), clock_timestamp(), clock_timestamp(), state, clock_timestamp() - ago
    FROM (VALUES ('', :many, 'HELD', NULL), ('b', :many, 'CONFIRMED', interval '99 days'),
            ('c', :many, 'RELEASED', interval '2 days'), ('d', 3, 'EXPIRED', interval '1 second'),
            ('e', 3, 'RELEASED', interval '99 days')) AS kind (name, many, state, ago)
    CROSS JOIN LATERAL generate_series(1, kind.many) AS number
    """
)


@pytest.fixture
async def database(empty_database: str) -> AsyncIterator[Database]:
    """One connection, which keeps its plans."""
    database = Database(empty_database, pool_size=1)
    yield database
    await database.close()


@pytest.mark.parametrize("name", list(WORKS))
async def test_a_plan_for_an_empty_table_reads_few_rows_of_a_full_one(
    database: Database, name: str
) -> None:
    async def read(session: WriteSession) -> int:
        before = await rows_read(session, "hold_journal")
        await WORKS[name](session)
        return await rows_read(session, "hold_journal") - before

    async def fill(session: WriteSession) -> None:
        await session.execute(_FILL, {"many": MANY})

    for _ in range(BEFORE_A_PLAN_IS_KEPT):
        await database.run_in_transaction(WORKS[name])
    await database.run_in_transaction(fill)
    rows = await database.run_in_transaction(read)
    assert 0 < rows < 50, "of nine thousand"
