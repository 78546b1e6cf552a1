"""One row per answered POST of a tenant and route, written in the transaction that made the answer true.

No body is kept: `subject_id` and `facts` (never personal) are what the first answer is made from again.
A hold needs no row here: its journal row is its record.
"""

from sqlalchemy import Column, DateTime, Index, String, Table
from sqlalchemy.dialects.postgresql import JSONB

from app.storage.metadata import metadata

idempotency_records = Table(
    "idempotency_records",
    metadata,
    Column("tenant_id", String(64, collation="C"), primary_key=True),
    Column("route", String(32, collation="C"), primary_key=True),
    Column("idempotency_key", String(255, collation="C"), primary_key=True),
    Column("request_hash", String(64), nullable=False),
    Column("subject_id", String(64), nullable=False),
    Column("facts", JSONB, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Index("ix_idempotency_records_expires_at", "expires_at"),
)
