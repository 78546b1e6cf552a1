"""The tables of events and of their publication.

A fact is written without a position, in the transaction of its change. The relay assigns positions after
commit, one by one under the lock of `outbox_head`, so that no event ever appears before a cursor that was
handed out. `relay_leases` names the relay that publishes; its fencing token is in the WHERE of every mark.
"""

from sqlalchemy import BigInteger, Column, DateTime, Index, Integer, String, Table, text
from sqlalchemy.dialects.postgresql import JSONB

from app.storage.metadata import metadata

outbox = Table(
    "outbox",
    metadata,
    Column("event_id", String(40, collation="C"), primary_key=True),
    Column("type", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("tenant_id", String(64, collation="C")),  # null: a fact about what all tenants share
    Column("aggregate_type", String(16, collation="C"), nullable=False),
    Column("aggregate_id", String(64, collation="C"), nullable=False),
    Column("sequence", Integer, nullable=False),  # from 1 within the aggregate, without gaps
    Column("occurred_at", DateTime(timezone=True), nullable=False),
    Column("data", JSONB, nullable=False),
    Column("position", BigInteger),
    Column("published_at", DateTime(timezone=True)),
    Column("attempts", Integer, nullable=False, server_default="0"),  # refusals by the bus
    Column("retry_at", DateTime(timezone=True)),  # not published again before
    Index("uq_outbox_sequence", "aggregate_type", "aggregate_id", "sequence", unique=True),
    Index(
        "uq_outbox_position", "position", unique=True, postgresql_where=text("position IS NOT NULL")
    ),
    Index(
        "ix_outbox_unnumbered", "occurred_at", "sequence", postgresql_where=text("position IS NULL")
    ),
    Index(
        "ix_outbox_unpublished",
        "published_at",  # null in every entry of this index: it gives an order that no other index has
        "position",
        postgresql_where=text("position IS NOT NULL AND published_at IS NULL"),
    ),
    Index("ix_outbox_tenant", "tenant_id", "position"),
)

outbox_head = Table(
    "outbox_head",
    metadata,
    Column("shard", Integer, primary_key=True, autoincrement=False),
    Column("last_position", BigInteger, nullable=False),
)

relay_leases = Table(
    "relay_leases",
    metadata,
    Column("shard", Integer, primary_key=True, autoincrement=False),
    Column("holder", String(64)),
    Column("fence", BigInteger, nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
)
