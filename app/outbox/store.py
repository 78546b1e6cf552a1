"""Appends, numbers and reads events; publishing is in delivery.py. Never commits.

Positions are assigned after commit, one by one under the lock of `outbox_head`, and become visible at the
same time: an event that is numbered later comes after every event that any reader has seen. Portable SQL:
no advisory locks, no notifications, no sequences.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    RowMapping,
    Select,
    bindparam,
    literal,
    select,
    text,
    union_all,
)

from app.ids import EventId, TenantId
from app.outbox.model import Aggregate, Entry, Event, EventType, Fact, Unnumbered, in_sequence
from app.outbox.tables import outbox
from app.storage.database import ReadSession, WriteSession

BACKLOG_COUNTED_MAX = (
    10_000  # a larger backlog is reported as this number, because counting is expensive
)


@dataclass(frozen=True, slots=True)
class Backlog:
    waiting: int
    refused: int  # of these, refused by the bus at least once
    oldest_at: datetime | None


_APPEND = text(
    """
    INSERT INTO outbox (event_id, type, version, tenant_id, aggregate_type, aggregate_id, sequence,
                        occurred_at, data)
    SELECT event_id, type, version, tenant_id, aggregate_type, aggregate_id, sequence,
           occurred_at, data
    FROM jsonb_to_recordset(CAST(:facts AS jsonb)) AS fact (
        event_id text, type text, version integer, tenant_id text, aggregate_type text,
        aggregate_id text, sequence integer, occurred_at timestamptz, data jsonb)
    ORDER BY event_id
    """
)
_ANY_UNNUMBERED = text("SELECT 1 FROM outbox WHERE position IS NULL LIMIT 1")
_LOCK_HEAD = text("SELECT last_position FROM outbox_head WHERE shard = 0 FOR UPDATE")
_MOVE_HEAD = text("UPDATE outbox_head SET last_position = :last_position WHERE shard = 0")
_FOLLOWS = """
    (later.sequence = 1 OR EXISTS (
        SELECT 1 FROM outbox AS earlier
        WHERE earlier.aggregate_type = later.aggregate_type
          AND earlier.aggregate_id = later.aggregate_id
          AND earlier.sequence = later.sequence - 1
          AND earlier.position IS NOT NULL))
"""
_UNNUMBERED = text(
    f"""
    SELECT event_id, aggregate_type, aggregate_id, sequence, {_FOLLOWS} AS follows
    FROM outbox AS later WHERE position IS NULL
    ORDER BY occurred_at, sequence LIMIT :count
    """  # noqa: S608 - made of constants
)
_UNNUMBERED_THAT_FOLLOW = text(
    f"""
    SELECT event_id, aggregate_type, aggregate_id, sequence, true AS follows
    FROM outbox AS later WHERE position IS NULL AND {_FOLLOWS}
    ORDER BY occurred_at, sequence LIMIT :count
    """  # noqa: S608 - made of constants
)
# Not "IS NULL": the planner would then read the index of all unnumbered rows instead of the primary key.
_NUMBER = text(
    """
    UPDATE outbox SET position = CAST(CAST(:positions AS jsonb) ->> event_id AS bigint)
    WHERE event_id = ANY(CAST(:event_ids AS text[])) AND coalesce(position, 0) = 0
    """
)
_BACKLOG = text(
    """
    SELECT count(*) AS waiting, count(CASE WHEN attempts > 0 THEN 1 END) AS refused,
           min(occurred_at) AS oldest_at
    FROM (
        (SELECT occurred_at, attempts FROM outbox WHERE position IS NULL
         ORDER BY occurred_at, sequence LIMIT :most)
        UNION ALL
        (SELECT occurred_at, attempts FROM outbox
         WHERE position IS NOT NULL AND published_at IS NULL
         ORDER BY published_at, position LIMIT :most)) AS waiting
    """
)
_LAST_POSITION = text("SELECT last_position FROM outbox_head WHERE shard = 0")
# Built once: building it takes longer than reading the answer.
_NUMBERED_AFTER = (
    select(outbox)
    .where(outbox.c.position > bindparam("position"))
    .order_by(outbox.c.position)
    .limit(bindparam("count"))
)


async def append(session: WriteSession, *facts: Fact) -> None:
    """Writes the facts into the caller's transaction, whose commit makes them true."""
    rows = [
        {
            "event_id": fact.event_id,
            "type": fact.type.value,
            "version": fact.version,
            "tenant_id": fact.tenant_id,
            "aggregate_type": fact.aggregate_type,
            "aggregate_id": fact.aggregate_id,
            "sequence": fact.sequence,
            "occurred_at": fact.occurred_at.isoformat(),
            "data": dict(fact.data),
        }
        for fact in facts
    ]
    await session.execute(_APPEND, {"facts": json.dumps(rows)})


async def number(session: WriteSession, count: int) -> list[EventId]:
    """Assigns the next positions to at most `count` committed facts, oldest first; returns them in order.

    A fact that a skewed clock dated before its predecessor waits for that one alone.
    """
    if (await session.execute(_ANY_UNNUMBERED)).first() is None:
        return []  # without touching the head, many times a second
    last_position: int = (await session.execute(_LOCK_HEAD)).scalar_one()
    waiting = await _unnumbered(session, _UNNUMBERED, count)
    chosen = in_sequence(waiting)
    if len(chosen) < len(waiting):  # some are held back: others take their places
        seen = {fact.event_id for fact in waiting}
        others = await _unnumbered(session, _UNNUMBERED_THAT_FOLLOW, count)
        chosen = in_sequence([*waiting, *(fact for fact in others if fact.event_id not in seen)])
    chosen = chosen[:count]
    if not chosen:
        return []
    event_ids = [fact.event_id for fact in chosen]
    positions = {event_id: last_position + n for n, event_id in enumerate(event_ids, 1)}
    numbered = await session.execute(
        _NUMBER, {"event_ids": event_ids, "positions": json.dumps(positions)}
    )
    assert numbered.rowcount == len(chosen), (
        "only the transaction that locks the head assigns positions"
    )
    await session.execute(_MOVE_HEAD, {"last_position": last_position + len(chosen)})
    return event_ids


async def backlog(session: ReadSession) -> Backlog:
    row = (await session.execute(_BACKLOG, {"most": BACKLOG_COUNTED_MAX})).mappings().one()
    return Backlog(row["waiting"], row["refused"], row["oldest_at"])


async def page(
    session: ReadSession,
    tenant_id: TenantId,
    *,
    include_shared: bool,
    after_position: int,
    limit: int,
    types: Collection[EventType] = (),
) -> list[Entry]:
    """The tenant's events, and with `include_shared` those of no tenant, oldest first.

    No `types` means all.
    """
    owners: list[ColumnElement[bool]] = [outbox.c.tenant_id == tenant_id]
    if include_shared:
        owners.append(outbox.c.tenant_id.is_(None))
    # One scan of (tenant_id, position) for each owner, merged: an OR would scan all tenants' events.
    scans = [_scan(owner, after_position, limit, types) for owner in owners]
    merged = union_all(*(select(scan.subquery()) for scan in scans)).subquery()
    found = await session.execute(select(merged).order_by(merged.c.position).limit(limit))
    return [_entry(row) for row in found.mappings()]


async def last_position(session: ReadSession) -> int:
    """The last position that was assigned, or 0."""
    return int((await session.execute(_LAST_POSITION)).scalar_one())


async def numbered_after(session: ReadSession, position: int, count: int) -> list[Entry]:
    """Events of all tenants in order of position: for the protocol, never for an answer to a tenant."""
    found = await session.execute(_NUMBERED_AFTER, {"position": position, "count": count})
    return [_entry(row) for row in found.mappings()]


async def _unnumbered(session: WriteSession, query: Any, count: int) -> Sequence[Unnumbered]:
    rows = await session.execute(query, {"count": count})
    return [
        Unnumbered(
            EventId(row["event_id"]),
            Aggregate(row["aggregate_type"], row["aggregate_id"]),
            row["sequence"],
            row["follows"],
        )
        for row in rows.mappings()
    ]


def _scan(
    owner: ColumnElement[bool], after_position: int, limit: int, types: Collection[EventType]
) -> Select[Any]:
    chosen = outbox.c.type.in_(sorted(kind.value for kind in types)) if types else literal(True)
    return (
        select(outbox)
        .where(owner, outbox.c.position > after_position, chosen)
        .order_by(outbox.c.position)
        .limit(limit)
    )


def _entry(row: RowMapping) -> Entry:
    return Entry(
        row["position"],
        row["attempts"],
        Event(
            EventId(row["event_id"]),
            row["type"],
            row["version"],
            row["occurred_at"].astimezone(UTC),
            None if row["tenant_id"] is None else TenantId(row["tenant_id"]),
            Aggregate(row["aggregate_type"], row["aggregate_id"]),
            row["sequence"],
            row["data"],
        ),
    )
