"""Rows of what was sold. A booking's key is derived from its hold's, so one hold is one booking.

Personal data stands in `booking_passengers` and the two contact columns, and nowhere else.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from app.storage.metadata import metadata

bookings = Table(
    "bookings",
    metadata,
    Column("booking_id", String(40, collation="C"), primary_key=True),
    Column("tenant_id", String(64, collation="C"), nullable=False),
    Column("hold_id", String(40, collation="C"), nullable=False, unique=True),
    Column("record_locator", String(6, collation="C"), nullable=False, unique=True),
    Column("status", String(10), nullable=False),
    Column("lines", JSONB, nullable=False),
    Column("segments", JSONB, nullable=False),
    Column("price", JSONB, nullable=False),
    Column("contact_email", String(320), nullable=False),
    Column("contact_phone", String(32), nullable=False),
    Column("payment_reference", String(255), nullable=False),
    Column("payment_minor", BigInteger, nullable=False),
    Column("payment_currency", String(3), nullable=False),
    Column("client_reference", String(64)),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("cancelled_at", DateTime(timezone=True)),
    Column("version", Integer, nullable=False, server_default="1"),
    CheckConstraint("status IN ('confirmed', 'cancelled')", name="known_status"),
    Index(
        "uq_bookings_client_reference",
        "tenant_id",
        "client_reference",
        unique=True,
        postgresql_where=text("client_reference IS NOT NULL"),
    ),
)

booking_passengers = Table(
    "booking_passengers",
    metadata,
    Column(
        "booking_id",
        String(40, collation="C"),
        ForeignKey(bookings.c.booking_id, ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("place", Integer, primary_key=True, autoincrement=False),  # as sent, from 0
    Column("type", String(3), nullable=False),
    Column("given_name", String(64), nullable=False),
    Column("family_name", String(64), nullable=False),
    Column("family_name_folded", String(256), nullable=False),  # without case and accents
    Column("born_on", Date, nullable=False),
)
