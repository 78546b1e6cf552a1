"""Journal scans for the repair jobs, over all tenants: live holds, ended holds, recent grants.

It only reads. Takes a session, never commits.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import text

from app.hold.journal.codecs import json_of
from app.hold.journal.rows import states_by_id
from app.hold.model import DIGEST_LENGTH, Grant, JournalState, LiveHold
from app.ids import HoldId, TenantId, first_id
from app.storage.database import ReadSession

_LIVE = "SELECT hold_id, lines, granted_at, expires_at, fence, extensions_used, request_hash FROM hold_journal"
# As load_part.lua reads them: lines become flight|cabin|position|seats;..., as place_hold.lua keeps them.
_MEMO_PAGE = text(
    """
    SELECT string_agg(
        concat_ws(' ', hold_id,
            replace(replace(replace(btrim(lines::text, '[]'), '"', ''), '], [', ';'), ', ', '|'),
            CAST(extract(epoch FROM expires_at) * 1000000 AS bigint),
            CAST(extract(epoch FROM granted_at) * 1000000 AS bigint),
            fence, extensions_used, left(request_hash, :digest)),
        E'\n' ORDER BY hold_id),
        max(granted_at)
    FROM (
        SELECT * FROM hold_journal
        WHERE state = 'HELD' AND hold_id > :hold_id ORDER BY hold_id LIMIT :count) AS page
    """
)
_LIVE_AMONG = text(
    f"{_LIVE} WHERE state = 'HELD' AND hold_id = ANY(CAST(:hold_ids AS text[])) ORDER BY hold_id"
)
_LIVE_IDS = text(
    """
    SELECT string_agg(hold_id, ' ' ORDER BY hold_id)
    FROM (
        SELECT hold_id FROM hold_journal
        WHERE state = 'HELD' AND hold_id > :hold_id ORDER BY hold_id LIMIT :count) AS page
    """
)
_STATES = text(
    "SELECT hold_id, state FROM hold_journal WHERE hold_id = ANY(CAST(:hold_ids AS text[]))"
)
# The clock is read by a query of its own, once: read in the condition it is read for each row of all that
# ever ended, and no index leads to the end of them.
_JUST_ENDED = text(
    """
    SELECT hold_id, state FROM hold_journal
    WHERE ended_at > (SELECT clock_timestamp() - make_interval(secs => :seconds))
      AND state IN ('RELEASED', 'EXPIRED', 'ABORTED')
    ORDER BY ended_at LIMIT :count
    """
)
# A key is remembered for a day, as marks.lua has it; the hour is for clocks that differ. Packed, as there
# are very many, and in the order of one index alone: by more, a plan made for few rows sorts all there are.
_GRANTED_OF_LATE = text(
    """
    SELECT string_agg(hold_id, ' ') FILTER (WHERE attempt = 1) AS firsts,
        jsonb_agg(jsonb_build_array(tenant_id, idempotency_key)) FILTER (WHERE attempt <> 1) AS others,
        count(*) AS rows, max(granted_at) AS last
    FROM (
        SELECT hold_id, tenant_id, idempotency_key, attempt, granted_at FROM hold_journal
        WHERE granted_at > (SELECT clock_timestamp() - interval '25 hours')
          AND granted_at >= :granted_at
        ORDER BY granted_at LIMIT :count) AS page
    """
)
# Some of the last two seconds before the newest: each step is a look into an index.
_NEWEST_GRANTS = text(
    """
    SELECT DISTINCT near.hold_id, near.granted_at, near.expires_at
    FROM (SELECT max(granted_at) AS at FROM hold_journal) AS newest
    CROSS JOIN generate_series(0, 7) AS step
    CROSS JOIN LATERAL (
        SELECT hold_id, granted_at, expires_at, state, epoch FROM hold_journal
        WHERE granted_at <= newest.at - step * interval '250 milliseconds'
        ORDER BY granted_at DESC LIMIT 8) AS near
    WHERE near.state = 'HELD' AND near.epoch = :epoch
    """
)


class Memos(NamedTuple):
    """Live promises as scripts read them, a line each; packed by Postgres, as there are very many."""

    text: str
    last_granted_at: datetime


async def memo_page(session: ReadSession, after: str, count: int) -> Memos | None:
    """All tenants' live promises by id: what a rebuild loads. None where there are no more."""
    values = {"hold_id": after, "count": count, "digest": DIGEST_LENGTH}
    packed, last_granted_at = (await session.execute(_MEMO_PAGE, values)).one()
    return None if packed is None else Memos(packed, last_granted_at.astimezone(UTC))


async def live_among(session: ReadSession, hold_ids: Sequence[HoldId]) -> list[LiveHold]:
    rows = await session.execute(_LIVE_AMONG, {"hold_ids": sorted(hold_ids)})
    return [LiveHold(row[0], json_of(row[1]), *row[2:]) for row in rows]


async def live_ids(session: ReadSession, after: str, count: int) -> list[HoldId]:
    packed = (await session.execute(_LIVE_IDS, {"hold_id": after, "count": count})).scalar_one()
    return [] if packed is None else packed.split(" ")


async def states(session: ReadSession, hold_ids: Sequence[HoldId]) -> dict[HoldId, JournalState]:
    """Where each stands, of those that have a row."""
    return states_by_id(await session.execute(_STATES, {"hold_ids": sorted(hold_ids)}))


async def just_ended(
    session: ReadSession, seconds: float, count: int
) -> dict[HoldId, JournalState]:
    """Promises that ended within so many seconds, and not in a booking."""
    return states_by_id(await session.execute(_JUST_ENDED, {"seconds": seconds, "count": count}))


async def granted_recently(
    session: ReadSession, granted_from: datetime, count: int
) -> tuple[list[HoldId], datetime | None]:
    """First attempts of the keys that were granted a hold in the last day.

    A page of them by their grant, and the last grant in it, which others may share; None where nothing
    is left.
    """
    values = {"granted_at": granted_from, "count": count}
    page = (await session.execute(_GRANTED_OF_LATE, values)).one()
    firsts = [HoldId(first) for first in (page.firsts or "").split()]
    for tenant_id, key in json_of(page.others) if page.others is not None else ():
        firsts.append(first_id(TenantId(tenant_id), key))
    return firsts, page.last if page.rows == count else None


async def newest_grants(session: ReadSession, epoch: int) -> list[Grant]:
    """Live promises of the last moments in which any was made, as far as they are of this epoch."""
    rows = await session.execute(_NEWEST_GRANTS, {"epoch": epoch})
    return [
        Grant(HoldId(row.hold_id), row.granted_at.astimezone(UTC), row.expires_at.astimezone(UTC))
        for row in rows
    ]
