"""The SQL of the ledger: a view over journal, bookings and facts. Takes a session, writes nothing.

Nothing is written for the ledger alone. A flight's promises are found through six partial indexes, one
for each place that a flight can have in a hold; their bookings by the hold's id. The instants of a hold
come from two clocks: it is granted by the hold store's, and moved on by the database's; a step never
stands before the grant.
"""

from collections.abc import Mapping
from datetime import UTC
from typing import Any, Final

from sqlalchemy import RowMapping, text

from app.hold.model import instant_of
from app.ids import BookingId, FlightId, HoldId, TenantId
from app.inventory.itinerary import SEGMENTS_MAX
from app.inventory.model import BookingClass, CabinName
from app.ledger.model import EntryKind, LedgerEntry, Position
from app.storage.database import ReadSession

# Each condition by itself is carried by ix_hold_journal_flight_0 … 5.
_OF_FLIGHT: Final = " OR ".join(
    f"journal.lines -> {place} ->> 0 = :flight_id" for place in range(SEGMENTS_MAX)
)
_LINES: Final = f"""
    line AS (
        SELECT journal.hold_id, journal.tenant_id, journal.epoch, journal.state, journal.granted_at,
            journal.extensions_used,
            greatest(journal.granted_at, journal.extended_at) AS extended_at,
            greatest(journal.granted_at, journal.ended_at) AS ended_at,
            booking.booking_id,
            greatest(journal.granted_at, journal.ended_at, booking.cancelled_at) AS cancelled_at,
            booking.status = 'cancelled' AS is_cancelled,
            CAST(one.place AS int) AS place, one.line ->> 1 AS cabin,
            CAST(one.line ->> 2 AS int) AS class_position,
            journal.segments -> CAST(one.place - 1 AS int) ->> 'booking_class' AS booking_class,
            CAST(one.line ->> 3 AS int) AS seats
        FROM hold_journal AS journal
        CROSS JOIN LATERAL jsonb_array_elements(journal.lines) WITH ORDINALITY AS one(line, place)
        LEFT JOIN bookings AS booking ON booking.hold_id = journal.hold_id
        WHERE ({_OF_FLIGHT}) AND journal.state <> 'ABORTED' AND one.line ->> 0 = :flight_id)"""  # noqa: S608
# Steps of one hold at one instant stand in the order of `step`.
_ENTRIES = text(
    f"""
    WITH {_LINES}, entry AS (
        SELECT granted_at AS at, hold_id AS about, 1 AS step, place, 'held' AS kind, cabin,
            booking_class, seats, CAST(NULL AS int) AS level, tenant_id, hold_id,
            CAST(NULL AS text) AS booking_id, epoch, 0 AS sale
        FROM line
        UNION ALL
        SELECT extended_at, hold_id, 2, place, 'extended', cabin,
            booking_class, seats, NULL, tenant_id, hold_id, NULL, epoch, 0
        FROM line WHERE extensions_used > 0
        UNION ALL
        SELECT ended_at, hold_id, 3, place, lower(state), cabin,
            booking_class, seats, NULL, tenant_id, hold_id, booking_id, epoch,
            CASE WHEN state = 'CONFIRMED' THEN seats ELSE 0 END
        FROM line WHERE state <> 'HELD'
        UNION ALL
        SELECT cancelled_at, hold_id, 4, place, 'cancelled', cabin,
            booking_class, seats, NULL, tenant_id, hold_id, booking_id, epoch, -seats
        FROM line WHERE is_cancelled
        UNION ALL
        SELECT fact.occurred_at, fact.event_id, 0,
            CAST(of_cabin.place * 100 + of_class.place AS int), 'limit_changed',
            of_cabin.told ->> 'cabin', of_class.told ->> 'booking_class', NULL,
            CAST(of_class.told ->> 'limit' AS int), NULL, NULL, NULL, NULL, 0
        FROM outbox AS fact
        CROSS JOIN LATERAL jsonb_array_elements(fact.data -> 'cabins')
            WITH ORDINALITY AS of_cabin(told, place)
        CROSS JOIN LATERAL jsonb_array_elements(of_cabin.told -> 'booking_classes')
            WITH ORDINALITY AS of_class(told, place)
        WHERE fact.aggregate_type = 'flight' AND fact.aggregate_id = :flight_id
            AND fact.type = 'flight.inventory_changed'),
    counted AS (
        SELECT *, CAST(round(extract(epoch FROM at) * 1000000) AS bigint) AS at_us,
            sum(sale) OVER (
                PARTITION BY cabin ORDER BY at, about COLLATE "C", step, place
                ROWS UNBOUNDED PRECEDING) AS sold
        FROM entry)
    SELECT * FROM counted
    WHERE (at_us, about COLLATE "C", step, place) > (:at_us, :about, :step, :place)
    ORDER BY at_us, about COLLATE "C", step, place
    LIMIT :count
    """  # noqa: S608 - made of constants
)
_GATHER = text("SET LOCAL enable_bitmapscan = on")
_SUMS = text(
    f"""
    WITH {_LINES}
    SELECT cabin, class_position,
        coalesce(sum(seats) FILTER (WHERE state = 'HELD'), 0) AS held,
        coalesce(sum(seats) FILTER (WHERE state = 'CONFIRMED'), 0) AS confirmed,
        coalesce(sum(seats) FILTER (WHERE is_cancelled), 0) AS cancelled
    FROM line GROUP BY cabin, class_position
    """  # noqa: S608 - made of constants
)


async def gather(session: ReadSession) -> None:
    """For the rest of the session's transaction: six indexes at once, which sessions else go without."""
    await session.execute(_GATHER)


async def read_entries(
    session: ReadSession, flight_id: FlightId, after: Position, count: int
) -> list[LedgerEntry]:
    """The entries behind `after`, oldest first, each with what was sold in its cabin by then."""
    at_us, about, step, place = after
    found = await session.execute(
        _ENTRIES,
        {
            "flight_id": flight_id,
            "at_us": at_us,
            "about": about,
            "step": step,
            "place": place,
            "count": count,
        },
    )
    return [_entry(row) for row in found.mappings()]


async def read_sums(
    session: ReadSession, flight_id: FlightId
) -> Mapping[tuple[CabinName, int], tuple[int, int, int]]:
    """Seats held now, ever confirmed and of these cancelled, by cabin and the class's position."""
    found = await session.execute(_SUMS, {"flight_id": flight_id})
    return {
        (CabinName(row.cabin), row.class_position): (row.held, row.confirmed, row.cancelled)
        for row in found
    }


def _entry(row: RowMapping) -> LedgerEntry:
    return LedgerEntry(
        position=(row["at_us"], row["about"], row["step"], row["place"]),
        at=instant_of(row["at_us"]).astimezone(UTC),
        kind=EntryKind(row["kind"]),
        cabin=CabinName(row["cabin"]),
        booking_class=BookingClass(row["booking_class"]),
        seats=row["seats"],
        limit=row["level"],
        tenant_id=_optional(TenantId, row["tenant_id"]),
        hold_id=_optional(HoldId, row["hold_id"]),
        booking_id=_optional(BookingId, row["booking_id"]),
        epoch=row["epoch"],
        sold=int(row["sold"]),
    )


def _optional(make: Any, value: str | None) -> Any:
    return None if value is None else make(value)
