"""The only SQL on idempotency records; takes a session, never commits.

A record is claimed first of all in the transaction that does the work. A second request with the same
key waits at the claim until the first has ended, and then finds its record, or none and goes ahead.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError

from app.errors import IdempotencyInFlight, IdempotencyKeyReused
from app.idempotency.model import IdempotencyKey, Record
from app.ids import TenantId
from app.storage.database import ReadSession, WriteSession
from app.storage.transaction import LOCK_TIMED_OUT, sqlstate_of

KEPT = timedelta(days=30)

_CLAIM = text(
    """
    INSERT INTO idempotency_records
        (tenant_id, route, idempotency_key, request_hash, subject_id, facts, created_at, expires_at)
    VALUES (:tenant_id, :route, :key, :request_hash, :subject_id, :facts, :now, :expires_at)
    ON CONFLICT (tenant_id, route, idempotency_key) DO NOTHING
    RETURNING subject_id
    """
).bindparams(bindparam("facts", type_=JSONB))
_READ = text(
    "SELECT request_hash, subject_id, facts FROM idempotency_records"
    " WHERE tenant_id = :tenant_id AND route = :route AND idempotency_key = :key"
).columns(facts=JSONB)
_DROP_OLD = text(
    "DELETE FROM idempotency_records WHERE (tenant_id, route, idempotency_key) IN ("
    " SELECT tenant_id, route, idempotency_key FROM idempotency_records"
    " WHERE expires_at < :now ORDER BY expires_at LIMIT :count)"
)


async def claim(
    session: WriteSession,
    tenant_id: TenantId,
    route: str,
    key: IdempotencyKey,
    subject_id: str,
    facts: Mapping[str, Any],
    now: datetime,
) -> Record | None:
    """None: the key is ours, and its record commits with the work. Else the first answer's record.

    Raises IdempotencyKeyReused where the key was first sent with another request, and
    IdempotencyInFlight where the first is still running when the database's lock_timeout is over.
    """
    values = {
        "tenant_id": tenant_id,
        "route": route,
        "key": key.key,
        "request_hash": key.request_hash,
        "subject_id": subject_id,
        "facts": dict(facts),
        "now": now,
        "expires_at": now + KEPT,
    }
    try:
        claimed = await session.execute(_CLAIM, values)
    except DBAPIError as error:
        if sqlstate_of(error) == LOCK_TIMED_OUT:
            raise IdempotencyInFlight from error
        raise
    if claimed.one_or_none() is not None:
        return None
    return await find(session, tenant_id, route, key)


async def find(
    session: ReadSession, tenant_id: TenantId, route: str, key: IdempotencyKey
) -> Record | None:
    """The record of an earlier answer, if there is one; IdempotencyKeyReused for another request's."""
    row = (
        await session.execute(_READ, {"tenant_id": tenant_id, "route": route, "key": key.key})
    ).one_or_none()
    if row is None:
        return None
    if row.request_hash != key.request_hash:
        raise IdempotencyKeyReused
    return Record(row.request_hash, row.subject_id, row.facts)


async def drop_old(session: WriteSession, now: datetime, count: int) -> int:
    """Lets go of records past their time, in small batches."""
    return (await session.execute(_DROP_OLD, {"now": now, "count": count})).rowcount
