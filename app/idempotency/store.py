"""The only SQL on idempotency records; takes a session, never commits.

The record is inserted first of all in the transaction that does the work. A second request with the same
key waits at its INSERT until the first has ended. Then it finds that record, or goes ahead if there is none.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError

from app.errors import IdempotencyInFlight, IdempotencyKeyReused
from app.idempotency.model import IdempotencyKey, IdempotencyRecord, NewRecord
from app.ids import TenantId
from app.storage.database import ReadSession, WriteSession
from app.storage.transaction import LOCK_TIMED_OUT, sqlstate_of

KEPT = timedelta(days=30)

_INSERT = text(
    """
    INSERT INTO idempotency_records
        (tenant_id, route, idempotency_key, request_hash, subject_id, facts, created_at, expires_at)
    SELECT tenant_id, :route, key, request_hash, subject_id, facts, :now, :expires_at
    FROM jsonb_to_recordset(CAST(:claims AS jsonb)) AS claim (
        tenant_id text, key text, request_hash text, subject_id text, facts jsonb)
    ORDER BY tenant_id, key
    ON CONFLICT (tenant_id, route, idempotency_key) DO NOTHING
    RETURNING subject_id
    """
)
_READ = text(
    "SELECT request_hash, subject_id, facts FROM idempotency_records"
    " WHERE tenant_id = :tenant_id AND route = :route AND idempotency_key = :key"
).columns(facts=JSONB)
_READ_ALL = text(
    "SELECT tenant_id, idempotency_key, request_hash, subject_id, facts FROM idempotency_records"
    " WHERE route = :route AND (tenant_id, idempotency_key) IN ("
    "  SELECT * FROM unnest(CAST(:tenant_ids AS text[]), CAST(:keys AS text[])))"
).columns(facts=JSONB)
_DROP_OLD = text(
    "DELETE FROM idempotency_records WHERE (tenant_id, route, idempotency_key) IN ("
    " SELECT tenant_id, route, idempotency_key FROM idempotency_records"
    " WHERE expires_at < :now ORDER BY expires_at LIMIT :count)"
)


async def insert_or_find(
    session: WriteSession,
    tenant_id: TenantId,
    route: str,
    key: IdempotencyKey,
    subject_id: str,
    facts: Mapping[str, Any],
    now: datetime,
) -> IdempotencyRecord | None:
    """None: the key is new, and its record commits with the work. Else the record of the first answer.

    Raises IdempotencyKeyReused where the key was first sent with another request, and
    IdempotencyInFlight where the first request is still running at the end of the lock timeout.
    """
    if await insert_all(session, route, [NewRecord(tenant_id, key, subject_id, facts)], now):
        return None
    return await find(session, tenant_id, route, key)


async def insert_all(
    session: WriteSession, route: str, records: Sequence[NewRecord], now: datetime
) -> bool:
    """Whether all of the keys are new. Where one is not, the caller rolls back or reads its record.

    Raises IdempotencyInFlight as `insert_or_find` does.
    """
    rows = [
        {
            "tenant_id": record.tenant_id,
            "key": record.key.key,
            "request_hash": record.key.request_hash,
            "subject_id": record.subject_id,
            "facts": dict(record.facts),
        }
        for record in records
    ]
    values = {"route": route, "claims": json.dumps(rows), "now": now, "expires_at": now + KEPT}
    try:
        inserted = await session.execute(_INSERT, values)
    except DBAPIError as error:
        if sqlstate_of(error) == LOCK_TIMED_OUT:
            raise IdempotencyInFlight from error
        raise
    return len(inserted.scalars().all()) == len(records)


async def find(
    session: ReadSession, tenant_id: TenantId, route: str, key: IdempotencyKey
) -> IdempotencyRecord | None:
    """The record of an earlier answer, if there is one; IdempotencyKeyReused for another request's."""
    row = (
        await session.execute(_READ, {"tenant_id": tenant_id, "route": route, "key": key.key})
    ).one_or_none()
    if row is None:
        return None
    if row.request_hash != key.request_hash:
        raise IdempotencyKeyReused
    return IdempotencyRecord(row.request_hash, row.subject_id, row.facts)


async def find_all(
    session: ReadSession, route: str, asked: Collection[tuple[TenantId, str]]
) -> dict[tuple[TenantId, str], IdempotencyRecord]:
    """Records by tenant and key, whatever the request was: the caller compares the hashes."""
    values = {
        "route": route,
        "tenant_ids": [tenant_id for tenant_id, _ in asked],
        "keys": [key for _, key in asked],
    }
    return {
        (TenantId(row.tenant_id), row.idempotency_key): IdempotencyRecord(
            row.request_hash, row.subject_id, row.facts
        )
        for row in await session.execute(_READ_ALL, values)
    }


async def drop_old(session: WriteSession, now: datetime, count: int) -> int:
    """Deletes some of the records whose time is over."""
    return (await session.execute(_DROP_OLD, {"now": now, "count": count})).rowcount
