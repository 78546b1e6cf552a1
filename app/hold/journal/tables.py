"""Rows of what was promised, and of which life of the Redis data may promise.

`hold_journal` is the arbiter: a row leaves HELD exactly once, by one conditional UPDATE. Its key is
derived from tenant, idempotency key and attempt, so that a retry meets the first try's row.
`redis_epoch` has one row a shard; whoever writes on the word of Redis share-locks it and so proves
that Redis's data is still the one it spoke of. `epoch_gate` asks newcomers to wait a moment while an
epoch is being ended, so that a stream of share locks cannot starve it.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    String,
    Table,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from app.inventory.itinerary import SEGMENTS_MAX
from app.storage.metadata import metadata

hold_journal = Table(
    "hold_journal",
    metadata,
    Column("hold_id", String(40, collation="C"), primary_key=True),
    Column("tenant_id", String(64, collation="C"), nullable=False),
    Column("idempotency_key", String(255), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("request_hash", String(64), nullable=False),
    Column("client_reference", String(64)),
    Column("lines", JSONB, nullable=False),  # [[flight_id, cabin, position, seats], ...]
    Column("segments", JSONB, nullable=False),  # the terms as they were promised
    Column("passengers", JSONB, nullable=False),  # counts only
    Column("price", JSONB, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("granted_at", DateTime(timezone=True), nullable=False),  # the script's clock
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("first_expires_at", DateTime(timezone=True), nullable=False),
    Column("extensions_used", Integer, nullable=False, server_default="0"),
    Column("extended_at", DateTime(timezone=True)),
    Column("fence", Integer, nullable=False, server_default="1"),
    Column("state", String(10), nullable=False),
    Column("ended_at", DateTime(timezone=True)),
    CheckConstraint(
        "state IN ('HELD', 'CONFIRMED', 'RELEASED', 'EXPIRED', 'ABORTED')", name="known_state"
    ),
    Index(
        "ix_hold_journal_tenant_newest", "tenant_id", text("granted_at DESC"), text("hold_id DESC")
    ),
    Index("ix_hold_journal_granted_at", "granted_at"),
    Index(
        "ix_hold_journal_ended_at",  # what was booked has ended too, stays for ever, and is not in here
        "ended_at",
        postgresql_where=text("state IN ('RELEASED', 'EXPIRED', 'ABORTED')"),
    ),
    Index("ix_hold_journal_held", "hold_id", postgresql_where=text("state = 'HELD'")),
    *(  # holds of a flight, by its place in the hold: for the ledger
        Index(
            f"ix_hold_journal_flight_{place}",
            text(f"((lines -> {place}) ->> 0)"),
            postgresql_where=text(f"((lines -> {place}) ->> 0) IS NOT NULL"),
        )
        for place in range(SEGMENTS_MAX)
    ),
)

redis_epoch = Table(
    "redis_epoch",
    metadata,
    Column("shard", Integer, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),
    Column("incarnation", String(128)),
    Column("mode", String(10), nullable=False),
    Column("cut", DateTime(timezone=True), nullable=False),
    Column("bumped_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("mode IN ('redis', 'rebuilding')", name="known_mode"),
)

epoch_gate = Table(
    "epoch_gate",
    metadata,
    Column("shard", Integer, primary_key=True, autoincrement=False),
    Column("closing_until", DateTime(timezone=True), nullable=False),
    Column("rebuilder", String(64)),  # keeps two rebuilders from cutting each other off
    Column("rebuilder_until", DateTime(timezone=True)),
    Column(
        "away_since", DateTime(timezone=True)
    ),  # a process got no answer; another's takes it back
)
