"""The promise in Postgres: the only SQL that moves `hold_journal`. Takes a session, never commits.

E(e), the proof that Redis's data is still that of epoch e, is `prove_epoch`: it share-locks the epoch
row, so that no new epoch begins before the transaction ends. Locks are taken in one order everywhere:
gate, epoch, journal by id, booking, inventory by flight and cabin, outbox.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text

from app.hold.journal.rows import APPENDED, COLUMNS, SENT, entry_from, entry_text, states_by_id
from app.hold.model import JournalEntry, JournalState
from app.ids import HoldId, TenantId
from app.inventory.itinerary import PassengerCounts, Price
from app.money import Money
from app.storage.database import ReadSession, WriteSession

_OPEN_EPOCH = """SELECT epoch FROM redis_epoch
    WHERE shard = 0 AND mode = 'redis'
      AND NOT EXISTS (SELECT 1 FROM epoch_gate WHERE shard = 0 AND closing_until > clock_timestamp())"""
_PROVE = text(f"{_OPEN_EPOCH} AND epoch = :epoch FOR SHARE OF redis_epoch")
_PROVE_REBUILDING = text(
    "SELECT epoch FROM redis_epoch WHERE shard = 0 AND mode <> 'redis' FOR SHARE OF redis_epoch"
)
# One statement, so that a process that freezes leaves no transaction open; decided row by row.
_APPEND = text(
    f"""
    WITH proof AS ({_OPEN_EPOCH} FOR SHARE OF redis_epoch)
    INSERT INTO hold_journal (
        {COLUMNS}, ended_at)
    SELECT {APPENDED},
        CASE WHEN r.state <> 'HELD' THEN clock_timestamp() END
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (
        {SENT})
    JOIN proof ON proof.epoch = r.epoch
    ORDER BY r.hold_id
    ON CONFLICT (hold_id) DO NOTHING
    RETURNING hold_id
    """  # noqa: S608 - made of constants
)
_READ = text(f"SELECT {COLUMNS} FROM hold_journal WHERE hold_id = :hold_id")  # noqa: S608
_READ_ALL = text(
    f"SELECT {COLUMNS} FROM hold_journal WHERE hold_id = ANY(CAST(:hold_ids AS text[]))"  # noqa: S608
)
_READ_OWN = text(
    f"SELECT {COLUMNS} FROM hold_journal"  # noqa: S608
    " WHERE hold_id = :hold_id AND tenant_id = :tenant_id AND state <> 'ABORTED'"
)
_LOCK = text(f"SELECT {COLUMNS} FROM hold_journal WHERE hold_id = :hold_id FOR UPDATE")  # noqa: S608
_PAGE = text(
    f"""
    SELECT {COLUMNS} FROM hold_journal
    WHERE tenant_id = :tenant_id AND state = ANY(CAST(:states AS text[]))
      AND (CAST(:client_reference AS text) IS NULL OR client_reference = :client_reference)
      AND (CAST(:granted_at AS timestamptz) IS NULL OR (granted_at, hold_id) < (:granted_at, :hold_id))
    ORDER BY granted_at DESC, hold_id DESC
    LIMIT :count
    """  # noqa: S608
)
# Said of every use of the table: a plan that was made for few rows may else join by walking through all.
_ASKED_FOR = "hold_journal.hold_id = ANY(CAST(:hold_ids AS text[]))"
_CONFIRM = text(
    f"""
    WITH asked AS (
        SELECT hold_journal.hold_id, asked.fence
        FROM unnest(CAST(:hold_ids AS text[]), CAST(:fences AS integer[])) AS asked (hold_id, fence)
        JOIN hold_journal ON hold_journal.hold_id = asked.hold_id AND {_ASKED_FOR}
        ORDER BY hold_journal.hold_id FOR UPDATE OF hold_journal)
    UPDATE hold_journal SET state = 'CONFIRMED', ended_at = clock_timestamp()
    FROM asked
    WHERE hold_journal.hold_id = asked.hold_id AND {_ASKED_FOR}
      AND state = 'HELD'
      AND (asked.fence IS NULL OR hold_journal.fence = asked.fence)
    RETURNING hold_journal.hold_id
    """  # noqa: S608 - made of constants
)
_RELEASE = text(
    f"""
    WITH asked AS (
        SELECT hold_journal.hold_id, hold_journal.state
        FROM unnest(CAST(:hold_ids AS text[]), CAST(:tenant_ids AS text[]))
             AS asked (hold_id, tenant_id)
        JOIN hold_journal ON hold_journal.hold_id = asked.hold_id AND {_ASKED_FOR}
                         AND hold_journal.tenant_id = asked.tenant_id
        ORDER BY hold_journal.hold_id FOR UPDATE OF hold_journal),
    ended AS (
        UPDATE hold_journal SET state = 'RELEASED', ended_at = clock_timestamp()
        FROM asked
        WHERE hold_journal.hold_id = asked.hold_id AND {_ASKED_FOR}
          AND hold_journal.state = 'HELD'
        RETURNING hold_journal.hold_id)
    SELECT asked.hold_id, CASE WHEN ended.hold_id IS NULL THEN asked.state ELSE 'RELEASED' END
    FROM asked LEFT JOIN ended ON ended.hold_id = asked.hold_id
    """  # noqa: S608 - made of constants
)
_EXPIRE = text(
    "UPDATE hold_journal SET state = 'EXPIRED', ended_at = clock_timestamp()"  # noqa: S608 - constants
    " WHERE hold_id IN (SELECT hold_id FROM hold_journal"
    f"   WHERE {_ASKED_FOR} ORDER BY hold_id FOR UPDATE)"
    f" AND {_ASKED_FOR} AND state = 'HELD'"
)
_NOBODY = json.dumps(PassengerCounts(0).to_json())
_NOTHING = json.dumps(Price(Money(0, "USD"), ()).to_json())
_ABORT_MISSING = text(
    """
    INSERT INTO hold_journal (
        hold_id, tenant_id, idempotency_key, attempt, request_hash, lines, segments, passengers, price,
        epoch, granted_at, expires_at, first_expires_at, state, ended_at)
    SELECT hold_id, '', '', 0, '', '[]', '[]', CAST(:nobody AS jsonb), CAST(:nothing AS jsonb),
        :epoch, 'epoch', 'epoch', 'epoch', 'ABORTED', clock_timestamp()
    FROM unnest(CAST(:hold_ids AS text[])) AS missing (hold_id)
    ORDER BY hold_id
    ON CONFLICT (hold_id) DO NOTHING
    """
)
_EXTEND = text(
    f"""
    WITH asked AS (
        SELECT hold_journal.hold_id, asked.expires_at
        FROM unnest(CAST(:hold_ids AS text[]), CAST(:tenant_ids AS text[]),
                    CAST(:expire_at AS timestamptz[])) AS asked (hold_id, tenant_id, expires_at)
        JOIN hold_journal ON hold_journal.hold_id = asked.hold_id AND {_ASKED_FOR}
                         AND hold_journal.tenant_id = asked.tenant_id
        ORDER BY hold_journal.hold_id FOR UPDATE OF hold_journal)
    UPDATE hold_journal
    SET expires_at = asked.expires_at, extensions_used = 1, extended_at = clock_timestamp()
    FROM asked
    WHERE hold_journal.hold_id = asked.hold_id AND {_ASKED_FOR}
      AND state = 'HELD' AND extensions_used = 0
    RETURNING hold_journal.hold_id
    """  # noqa: S608 - made of constants
)
_RAISE_FENCING_TOKEN = text(
    "UPDATE hold_journal SET fence = fence + 1 WHERE hold_id = :hold_id RETURNING fence"
)
_DROP_ENDED = text(
    "DELETE FROM hold_journal WHERE hold_id IN (SELECT hold_id FROM hold_journal"
    " WHERE ended_at < (SELECT clock_timestamp() - interval '30 days')"
    " AND state IN ('RELEASED', 'EXPIRED', 'ABORTED')"
    " ORDER BY ended_at LIMIT :count)"
)


@dataclass(frozen=True, slots=True)
class NewEnd:
    """When a tenant's hold runs out once it is extended."""

    tenant_id: TenantId
    hold_id: HoldId
    expires_at: datetime


async def prove_epoch(session: WriteSession, epoch: int) -> bool:
    """E(e): holds the epoch in place until the transaction ends, or False."""
    return (await session.execute(_PROVE, {"epoch": epoch})).one_or_none() is not None


async def prove_rebuilding(session: WriteSession) -> bool:
    """While this is True nothing expires and nothing is granted, until the transaction ends."""
    return (await session.execute(_PROVE_REBUILDING)).one_or_none() is not None


async def append(session: WriteSession, entries: Sequence[JournalEntry]) -> set[HoldId]:
    """Writes each entry whose epoch is still open and whose id is new; names those written."""
    rows = f"[{','.join(map(entry_text, entries))}]"
    written = await session.execute(_APPEND, {"rows": rows})
    return {HoldId(hold_id) for hold_id in written.scalars()}


async def read(session: ReadSession, hold_id: HoldId) -> JournalEntry | None:
    """The entry of any tenant: for the protocol, never for an answer."""
    row = (await session.execute(_READ, {"hold_id": hold_id})).one_or_none()
    return None if row is None else entry_from(row)


async def read_all(session: ReadSession, hold_ids: Iterable[HoldId]) -> dict[HoldId, JournalEntry]:
    """As `read`, of those that have a row."""
    rows = await session.execute(_READ_ALL, {"hold_ids": sorted(hold_ids)})
    entries = map(entry_from, rows)
    return {entry.hold_id: entry for entry in entries}


async def read_own(
    session: ReadSession, tenant_id: TenantId, hold_id: HoldId
) -> JournalEntry | None:
    row = (
        await session.execute(_READ_OWN, {"hold_id": hold_id, "tenant_id": tenant_id})
    ).one_or_none()
    return None if row is None else entry_from(row)


async def lock(session: WriteSession, hold_id: HoldId) -> JournalEntry | None:
    """Waits for any booking of the hold that is under way; what it reads stays so until the end."""
    row = (await session.execute(_LOCK, {"hold_id": hold_id})).one_or_none()
    return None if row is None else entry_from(row)


async def page(
    session: ReadSession,
    tenant_id: TenantId,
    *,
    states: Iterable[JournalState],
    client_reference: str | None,
    after: tuple[datetime, HoldId] | None,
    count: int,
) -> list[JournalEntry]:
    """A tenant's entries, newest first."""
    granted_at, hold_id = after if after is not None else (None, None)
    rows = await session.execute(
        _PAGE,
        {
            "tenant_id": tenant_id,
            "states": [state.value for state in states],
            "client_reference": client_reference,
            "granted_at": granted_at,
            "hold_id": hold_id,
            "count": count,
        },
    )
    return [entry_from(row) for row in rows]


async def confirm(session: WriteSession, tokens: Mapping[HoldId, int | None]) -> set[HoldId]:
    """HELD → CONFIRMED for each hold with its fencing token; names those that were confirmed.

    It alone decides which booking gets a hold. A token is None only while an epoch is being rebuilt.
    """
    hold_ids = sorted(tokens)
    values = {"hold_ids": hold_ids, "fences": [tokens[hold_id] for hold_id in hold_ids]}
    won = await session.execute(_CONFIRM, values)
    return {HoldId(hold_id) for hold_id in won.scalars()}


async def release(
    session: WriteSession, asked: Sequence[tuple[TenantId, HoldId]]
) -> dict[HoldId, JournalState]:
    """HELD → RELEASED; where each stands then, of those that the tenant has."""
    values = {
        "tenant_ids": [tenant_id for tenant_id, _ in asked],
        "hold_ids": [hold_id for _, hold_id in asked],
    }
    return states_by_id(await session.execute(_RELEASE, values))


async def expire(session: WriteSession, hold_ids: Sequence[HoldId]) -> int:
    """HELD → EXPIRED for ids that Redis, in an epoch that was proven, said have run out."""
    return (await session.execute(_EXPIRE, {"hold_ids": sorted(hold_ids)})).rowcount


async def abort_missing(session: WriteSession, epoch: int, hold_ids: Sequence[HoldId]) -> None:
    """Prevents holds that were granted and not yet promised from ever being promised.

    Such a row has an id, and no tenant, terms or times.
    """
    values = {"epoch": epoch, "hold_ids": sorted(hold_ids), "nobody": _NOBODY, "nothing": _NOTHING}
    await session.execute(_ABORT_MISSING, values)


async def extend(session: WriteSession, ends: Sequence[NewEnd]) -> set[HoldId]:
    """Moves the end of each that is HELD and was not extended; names those that were moved."""
    values = {
        "hold_ids": [end.hold_id for end in ends],
        "tenant_ids": [end.tenant_id for end in ends],
        "expire_at": [end.expires_at for end in ends],
    }
    return {HoldId(hold_id) for hold_id in (await session.execute(_EXTEND, values)).scalars()}


async def raise_fencing_token(session: WriteSession, hold_id: HoldId) -> int:
    return int((await session.execute(_RAISE_FENCING_TOKEN, {"hold_id": hold_id})).scalar_one())


async def drop_ended(session: WriteSession, count: int) -> int:
    """Deletes entries that ended 30 days ago, except those of bookings: their keys must never lead to a
    second hold of the same id.
    """
    return (await session.execute(_DROP_ENDED, {"count": count})).rowcount
