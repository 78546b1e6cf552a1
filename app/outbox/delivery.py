"""The statements of the relay that holds the lease: which events are due, and their outcomes.

An event is due when the one before it in its aggregate is marked as published, so at most one event of an
aggregate is due. Most events have no position yet and get it with their mark, because a second write of a
row would cost as much as the first; a refused event got its position with the refusal. Both statements
prove the lease in their own WHERE, by the database's clock. Never commits.
"""

import json
from collections.abc import Collection, Sequence
from datetime import UTC

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB

from app.ids import EventId, TenantId
from app.outbox.lease_store import PROVEN_LEASE, Lease, proof_of
from app.outbox.model import Aggregate, Due, Event
from app.storage.database import ReadSession, WriteSession

_COLUMNS = """
    event_id, type, version, occurred_at, tenant_id, aggregate_type, aggregate_id, sequence, data,
    position, attempts
"""
# The predecessor of an event is read by a scalar subquery, which no planner rewrites as a join with every event
# ever marked. The first part is also ordered by a column that is null in all its rows: one index alone has that
# order, so no planner takes the index of every position ever assigned.
_DUE = text(
    f"""
    (SELECT {_COLUMNS}
    FROM outbox AS later
    WHERE position IS NOT NULL AND published_at IS NULL
      AND (retry_at IS NULL OR retry_at <= clock_timestamp())
      AND (SELECT earlier.published_at IS NULL FROM outbox AS earlier
        WHERE earlier.aggregate_type = later.aggregate_type
          AND earlier.aggregate_id = later.aggregate_id
          AND earlier.sequence = later.sequence - 1) IS NOT TRUE
      AND event_id NOT IN (SELECT unnest(CAST(:except_for AS text[])))
      AND EXISTS ({PROVEN_LEASE})
    ORDER BY published_at, position LIMIT :count)
    UNION ALL
    (SELECT {_COLUMNS}
    FROM outbox AS later
    WHERE position IS NULL
      AND (later.sequence = 1 OR (
        SELECT earlier.published_at FROM outbox AS earlier
        WHERE earlier.aggregate_type = later.aggregate_type
          AND earlier.aggregate_id = later.aggregate_id
          AND earlier.sequence = later.sequence - 1) IS NOT NULL)
      AND event_id NOT IN (SELECT unnest(CAST(:except_for AS text[])))
      AND EXISTS ({PROVEN_LEASE})
    ORDER BY occurred_at, sequence LIMIT :count)
    """  # noqa: S608 - made of constants
).columns(data=JSONB)
_SOME_FOLLOW = text(
    """
    SELECT 1 FROM outbox
    WHERE position IS NULL AND sequence > 1
      AND event_id NOT IN (SELECT unnest(CAST(:except_for AS text[])))
    LIMIT 1
    """
)
# The lease's row is locked: a relay that acquires the lease sees every mark of the one before. No seconds: the
# bus has the event. A position assigned meanwhile stays, and the one meant for it stays unused.
# The values of each event are looked up by its id, row by row: a planner would guess the size of a join.
_SETTLE = text(
    f"""
    WITH lease AS ({PROVEN_LEASE} FOR UPDATE),
    head AS (
        UPDATE outbox_head SET last_position = last_position + CAST(:unnumbered AS bigint)
        FROM lease WHERE outbox_head.shard = lease.shard
        RETURNING last_position - CAST(:unnumbered AS bigint) AS last_position)
    UPDATE outbox
    SET position = coalesce(outbox.position, head.last_position
            + CAST(CAST(:places AS jsonb) ->> outbox.event_id AS bigint)),
        published_at = CASE WHEN CAST(:seconds AS jsonb) ->> outbox.event_id IS NULL
            THEN clock_timestamp() END,
        attempts = attempts
            + CASE WHEN CAST(:seconds AS jsonb) ->> outbox.event_id IS NULL THEN 0 ELSE 1 END,
        retry_at = clock_timestamp() + INTERVAL '1 second'
            * CAST(CAST(:seconds AS jsonb) ->> outbox.event_id AS double precision)
    FROM head
    WHERE outbox.event_id = ANY(CAST(:event_ids AS text[])) AND outbox.published_at IS NULL
    """  # noqa: S608 - made of constants
)


async def due(
    session: ReadSession, lease: Lease, count: int, *, except_for: Collection[EventId] = ()
) -> list[Due]:
    """At most `count` events with a position, in its order, then as many without one, oldest first.

    Empty without the lease; never an event named in `except_for`.
    """
    found = await session.execute(
        _DUE, {**proof_of(lease), "count": count, "except_for": list(except_for)}
    )
    return [
        Due(
            Event(
                EventId(event_id),
                type_,
                version,
                occurred_at.astimezone(UTC),
                None if tenant_id is None else TenantId(tenant_id),
                Aggregate(aggregate_type, aggregate_id),
                sequence,
                data,
            ),
            position,
            attempts,
        )
        for (
            event_id,
            type_,
            version,
            occurred_at,
            tenant_id,
            aggregate_type,
            aggregate_id,
            sequence,
            data,
            position,
            attempts,
        ) in found
    ]


async def some_follow(session: ReadSession, due: Sequence[Due]) -> bool:
    """Whether events without a position, besides those due, wait for another of their aggregate."""
    found = await session.execute(_SOME_FOLLOW, {"except_for": [one.event.id for one in due]})
    return found.first() is not None


async def settle(
    session: WriteSession, lease: Lease, outcomes: Sequence[tuple[Due, float | None]]
) -> int:
    """Marks events as published (None), or delays them by the given seconds.

    All of them have positions afterwards. Returns how many rows the one statement wrote: none without the
    lease.
    """
    in_order = sorted(outcomes, key=lambda one: one[0].position is not None)  # new positions first
    written = await session.execute(
        _SETTLE,
        {
            **proof_of(lease),
            "unnumbered": sum(fact.position is None for fact, _ in in_order),
            "event_ids": [fact.event.id for fact, _ in in_order],
            "places": json.dumps({fact.event.id: n for n, (fact, _) in enumerate(in_order, 1)}),
            "seconds": json.dumps(
                {fact.event.id: wait for fact, wait in in_order if wait is not None}
            ),
        },
    )
    return written.rowcount
