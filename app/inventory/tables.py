"""The tables of flights, their inventory and minimum connection times.

`flights` has one row for each dated flight. `inventory` has one row for each flight and cabin, with its
classes in nesting order as parallel arrays. A booking is checked against `ceilings`: a ceiling is never
below its limit, and lowering a limit below the seats taken does not lower it, so that held seats can
still be booked. The constraint `no_oversell` compares plain columns, so no code can bypass it.

`minimum_connection_times` has the least minutes between two flights at a station. Stations without a row
have the default of `app/search/connections.py`.
"""

from sqlalchemy import (
    ARRAY,
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

from app.storage.metadata import metadata

flights = Table(
    "flights",
    metadata,
    Column("flight_id", String(64, collation="C"), primary_key=True),
    Column("carrier", String(2), nullable=False),
    Column("flight_number", String(5), nullable=False),
    Column("origin", String(3), nullable=False),
    Column("destination", String(3), nullable=False),
    Column("departure_date", Date, nullable=False),  # by the origin's own calendar
    Column("departing_local", DateTime(timezone=False), nullable=False),
    Column("departing_time_zone", String(64), nullable=False),
    Column("departing_utc", DateTime(timezone=True), nullable=False),
    Column("arriving_local", DateTime(timezone=False), nullable=False),
    Column("arriving_time_zone", String(64), nullable=False),
    Column("arriving_utc", DateTime(timezone=True), nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("event_sequence", Integer, nullable=False, server_default="0"),
    Index("ix_flights_market", "origin", "destination", "departure_date"),
    Index("ix_flights_departures", "origin", "departure_date"),  # first legs of connections
)

inventory = Table(
    "inventory",
    metadata,
    Column(
        "flight_id",
        String(64, collation="C"),
        ForeignKey(flights.c.flight_id, ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("cabin", String(16, collation="C"), primary_key=True),
    Column("rank", Integer, nullable=False),  # the cabin's place in its flight, from 0
    Column("capacity", Integer, nullable=False),
    Column("booking_classes", ARRAY(String(1)), nullable=False),
    Column("fares", ARRAY(BigInteger), nullable=False),  # minor units
    Column("currency", String(3), nullable=False),
    Column("limits", ARRAY(Integer), nullable=False),
    Column("ceilings", ARRAY(Integer), nullable=False),
    Column("sold", ARRAY(Integer), nullable=False),
    Column("sold_total", Integer, nullable=False, server_default="0"),
    Column("ceiling_total", Integer, nullable=False),
    Column("version", BigInteger, nullable=False, server_default="1"),
    CheckConstraint("sold_total >= 0 AND sold_total <= ceiling_total", name="no_oversell"),
    # Rows that the ceiling reducer reads: few, and only until it has lowered their ceilings.
    Index("ix_inventory_loose", "flight_id", "cabin", postgresql_where=text("ceilings <> limits")),
)

minimum_connection_times = Table(
    "minimum_connection_times",
    metadata,
    Column("station", String(3), primary_key=True),
    Column("minutes", Integer, nullable=False),
    CheckConstraint("minutes >= 0 AND minutes <= 1440", name="a_day_at_most"),
)
