"""The only SQL on idempotency records; takes a session, never commits.

A record is claimed first of all in the transaction that does the work. A second request with the same
key waits at the claim until the first has ended, and then finds its record, or none and goes ahead.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError

from app.errors import IdempotencyInFlight, IdempotencyKeyReused
from app.idempotency.model import Claim, IdempotencyKey, Record
from app.ids import TenantId
from app.storage.database import ReadSession, WriteSession
from app.storage.transaction import LOCK_TIMED_OUT, sqlstate_of

KEPT = timedelta(days=30)

_CLAIM = text(
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
    if await claim_all(session, route, [Claim(tenant_id, key, subject_id, facts)], now):
        return None
    return await find(session, tenant_id, route, key)


async def claim_all(
    session: WriteSession, route: str, claims: Sequence[Claim], now: datetime
) -> bool:
    """Whether every one of the keys is ours; where it is not, the caller rolls back or looks for the
    first answer. Raises IdempotencyInFlight as `claim` does.
    """
    rows = [
        {
            "tenant_id": claim.tenant_id,
            "key": claim.key.key,
            "request_hash": claim.key.request_hash,
            "subject_id": claim.subject_id,
            "facts": dict(claim.facts),
        }
        for claim in claims
    ]
    values = {"route": route, "claims": json.dumps(rows), "now": now, "expires_at": now + KEPT}
    try:
        claimed = await session.execute(_CLAIM, values)
    except DBAPIError as error:
        if sqlstate_of(error) == LOCK_TIMED_OUT:
            raise IdempotencyInFlight from error
        raise
    return len(claimed.scalars().all()) == len(claims)


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


async def find_all(
    session: ReadSession, route: str, asked: Collection[tuple[TenantId, str]]
) -> dict[tuple[TenantId, str], Record]:
    """By tenant and key, whatever was asked with it: the caller compares the hashes."""
    values = {
        "route": route,
        "tenant_ids": [tenant_id for tenant_id, _ in asked],
        "keys": [key for _, key in asked],
    }
    return {
        (TenantId(row.tenant_id), row.idempotency_key): Record(
            row.request_hash, row.subject_id, row.facts
        )
        for row in await session.execute(_READ_ALL, values)
    }


async def drop_old(session: WriteSession, now: datetime, count: int) -> int:
    """Lets go of records past their time, in small batches."""
    return (await session.execute(_DROP_OLD, {"now": now, "count": count})).rowcount
