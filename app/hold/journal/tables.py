"""Rows of what was promised, and of the epoch in which it may be promised.

`hold_journal` decides: a row leaves HELD exactly once, by one conditional UPDATE. Its key is
derived from tenant, idempotency key and attempt, so that a retry meets the first try's row.
`redis_epoch` has one row a shard; a transaction that relies on an answer of Redis share-locks it and so
proves that the answer's epoch is still open. `epoch_gate` keeps new appends away while an epoch is being
ended, so that a stream of share locks cannot starve it.
"""

from typing import Any

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

from app.hold.journal.codecs import (
    BIG_INTEGER,
    INSTANT,
    INTEGER,
    LINES,
    OPTIONAL_TEXT,
    PASSENGERS,
    PRICE,
    SEGMENTS,
    STATE,
    TEXT,
    Codec,
)
from app.inventory.itinerary import SEGMENTS_MAX
from app.storage.metadata import metadata


def _entry_column(
    name: str,
    type_: Any,
    codec: Codec,
    *,
    appended: str = "",
    is_sent: bool = True,
    nullable: bool = False,
    **options: Any,
) -> Column[Any]:
    """The column of the field of this name, or else of the name `key`, in `JournalEntry`.

    `appended` is what a new row has in it, by default the entry's own value; `is_sent` says whether
    the entry's value is sent at all.
    """
    info = {"codec": codec, "appended": appended or f"r.{name}", "is_sent": is_sent}
    return Column(name, type_, nullable=nullable, info=info, **options)


_ID = String(40, collation="C")
_INSTANT = DateTime(timezone=True)

# The one list of what a hold has in PostgreSQL: rows.py derives columns, statements and codecs from it.
hold_journal = Table(
    "hold_journal",
    metadata,
    _entry_column("hold_id", _ID, TEXT, primary_key=True),
    _entry_column("tenant_id", String(64, collation="C"), TEXT),
    _entry_column("idempotency_key", String(255), TEXT),
    _entry_column("attempt", Integer, INTEGER),
    _entry_column("request_hash", String(64), TEXT),
    _entry_column("client_reference", String(64), OPTIONAL_TEXT, nullable=True),
    _entry_column("lines", JSONB, LINES),  # [[flight_id, cabin, position, seats], ...]
    _entry_column("segments", JSONB, SEGMENTS),  # the terms as they were promised
    _entry_column("passengers", JSONB, PASSENGERS),  # counts only
    _entry_column("price", JSONB, PRICE),
    _entry_column("epoch", BigInteger, BIG_INTEGER, appended="proof.epoch"),
    _entry_column("granted_at", _INSTANT, INSTANT),  # the script's clock
    _entry_column("expires_at", _INSTANT, INSTANT),
    _entry_column("first_expires_at", _INSTANT, INSTANT, appended="r.expires_at", is_sent=False),
    _entry_column(
        "extensions_used", Integer, INTEGER, appended="0", is_sent=False, server_default="0"
    ),
    Column("extended_at", DateTime(timezone=True)),
    _entry_column(
        "fence",
        Integer,
        INTEGER,
        appended="1",
        is_sent=False,
        server_default="1",
        key="fencing_token",
    ),
    _entry_column("state", String(10), STATE),
    Column("ended_at", DateTime(timezone=True)),
    CheckConstraint(
        "state IN ('HELD', 'CONFIRMED', 'RELEASED', 'EXPIRED', 'ABORTED')", name="known_state"
    ),
    Index(
        "ix_hold_journal_tenant_newest", "tenant_id", text("granted_at DESC"), text("hold_id DESC")
    ),
    Index("ix_hold_journal_granted_at", "granted_at"),
    Index(
        "ix_hold_journal_ended_at",  # what was booked has ended too, but stays, and is not in here
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
