"""What the holder of the lease reads and writes: the facts that may leave now, and what became of them.

A fact may leave when the one before it in its aggregate was marked, so that of each aggregate at most
one is due. Most have no position yet and get it together with their mark, because a row's second
write would cost as much as its first; what the bus refused has got its position with the refusal.
Both read and write prove the lease in their own WHERE, by the database's clock. Never commits.
"""

import json
from collections.abc import Collection, Sequence
from datetime import UTC

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB

from app.ids import EventId, TenantId
from app.outbox.lease import PROVEN_LEASE, Lease, proof_of
from app.outbox.model import Aggregate, Due, Event
from app.storage.database import ReadSession, WriteSession

_COLUMNS = """
    event_id, type, version, occurred_at, tenant_id, aggregate_type, aggregate_id, sequence, data,
    position, attempts
"""
# What comes before a fact is asked for by a scalar, which no planner turns into a table of all that was
# ever marked. The first part is ordered by a column that is null in all of it, too: one index alone has
# that order, and no planner takes the one of every position that was ever given.
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
# The lease's row is locked: who takes it over sees every mark of the one before. No seconds: the bus
# has it. A position that somebody gave meanwhile stays, and the one meant for it is given to nobody.
# What is given for each fact is looked up by its id, row by row: a join would be planned from a guess.
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
    """At most `count` that have a position, in its order, then as many that have none, oldest first.

    Without the lease nothing, and never what is named in `except_for`.
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
    """Whether facts without a position wait for another of their aggregate, beside those due."""
    found = await session.execute(_SOME_FOLLOW, {"except_for": [one.event.id for one in due]})
    return found.first() is not None


async def settle(
    session: WriteSession, lease: Lease, outcomes: Sequence[tuple[Due, float | None]]
) -> int:
    """Marks what the bus took, told by None, and keeps the others back for so many seconds.

    All of them have positions then. One statement; the answer is how many rows it wrote, none of
    them without the lease.
    """
    in_order = sorted(
        outcomes, key=lambda one: one[0].position is not None
    )  # new places come first
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
