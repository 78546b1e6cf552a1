"""The only SQL on bookings; takes a session, never commits. Every query names the tenant."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import RowMapping, bindparam, select, text, tuple_

from app.booking.model import Booking, BookingStatus, Contact, Passenger, Payment
from app.booking.rules import folded
from app.booking.tables import booking_passengers, bookings
from app.ids import BookingId, HoldId, TenantId
from app.inventory.itinerary import Price, Segment
from app.inventory.model import SeatLine, lines_from_json, lines_to_json
from app.money import Money
from app.storage.database import ReadSession, WriteSession

_REFERRED_TO = text(
    """
    SELECT tenant_id, client_reference, booking_id FROM bookings
    WHERE (tenant_id, client_reference) IN (
        SELECT * FROM unnest(CAST(:tenant_ids AS text[]), CAST(:client_references AS text[])))
      AND tenant_id = ANY(CAST(:tenant_ids AS text[]))
      AND client_reference = ANY(CAST(:client_references AS text[]))
    """
)
# Put together once: to do so takes longer than to read the answer.
_THEIR_OWN = select(bookings).where(
    tuple_(bookings.c.tenant_id, bookings.c.booking_id).in_(bindparam("asked", expanding=True))
)
_PASSENGERS = (
    select(booking_passengers)
    .where(booking_passengers.c.booking_id.in_(bindparam("booking_ids", expanding=True)))
    .order_by(booking_passengers.c.booking_id, booking_passengers.c.place)
)
_CANCEL = text(
    """
    WITH asked AS (
        SELECT bookings.booking_id
        FROM unnest(CAST(:booking_ids AS text[]), CAST(:tenant_ids AS text[]))
             AS asked (booking_id, tenant_id)
        JOIN bookings ON bookings.booking_id = asked.booking_id
                     AND bookings.tenant_id = asked.tenant_id
        ORDER BY bookings.booking_id FOR UPDATE OF bookings)
    UPDATE bookings
    SET status = 'cancelled', version = version + 1,
        cancelled_at = greatest(CAST(:now AS timestamptz), created_at)
    FROM asked
    WHERE bookings.booking_id = asked.booking_id AND status = 'confirmed'
    RETURNING bookings.booking_id
    """
)
_ADD = text(
    """
    INSERT INTO bookings (
        booking_id, tenant_id, hold_id, record_locator, status, lines, segments, price,
        contact_email, contact_phone, payment_reference, payment_minor, payment_currency,
        client_reference, created_at, version)
    SELECT * FROM jsonb_to_recordset(CAST(:bookings AS jsonb)) AS booking (
        booking_id text, tenant_id text, hold_id text, record_locator text, status text,
        lines jsonb, segments jsonb, price jsonb,
        contact_email text, contact_phone text, payment_reference text, payment_minor bigint,
        payment_currency text, client_reference text, created_at timestamptz, version integer)
    ORDER BY booking_id
    ON CONFLICT DO NOTHING
    RETURNING booking_id
    """
)
_ADD_PASSENGERS = text(
    """
    INSERT INTO booking_passengers (
        booking_id, place, type, given_name, family_name, family_name_folded, born_on)
    SELECT * FROM jsonb_to_recordset(CAST(:passengers AS jsonb)) AS passenger (
        booking_id text, place integer, type text, given_name text, family_name text,
        family_name_folded text, born_on date)
    """
)


@dataclass(frozen=True, slots=True)
class NewBooking:
    """What a booking's rows are made of; `lines` is what it takes out of the inventory."""

    tenant_id: TenantId
    booking: Booking
    lines: Sequence[SeatLine]


async def add(session: WriteSession, added: Sequence[NewBooking]) -> set[BookingId]:
    """Names those that were written; the others' locator or client reference is taken."""
    rows = json.dumps([_row(new) for new in added])
    written = set((await session.execute(_ADD, {"bookings": rows})).scalars())
    travelling = [
        passenger
        for new in added
        if new.booking.booking_id in written
        for passenger in _passenger_rows(new.booking)
    ]
    if travelling:
        await session.execute(_ADD_PASSENGERS, {"passengers": json.dumps(travelling)})
    return {BookingId(booking_id) for booking_id in written}


async def read_own(
    session: ReadSession, tenant_id: TenantId, booking_id: BookingId
) -> Booking | None:
    found = await read_all(session, [(tenant_id, booking_id)])
    return found[booking_id][0] if booking_id in found else None


async def read_all(
    session: ReadSession, asked: Collection[tuple[TenantId, BookingId]]
) -> dict[BookingId, tuple[Booking, tuple[SeatLine, ...]]]:
    """Of those that the tenant named has: each booking with what it took out of the inventory."""
    found = await session.execute(_THEIR_OWN, {"asked": list(asked)})
    rows = found.mappings().all()
    passengers = await _passengers(session, [row["booking_id"] for row in rows])
    return {
        BookingId(row["booking_id"]): (
            _booking(row, passengers[row["booking_id"]]),
            lines_from_json(row["lines"]),
        )
        for row in rows
    }


async def find(
    session: ReadSession, tenant_id: TenantId, record_locator: str, family_name: str
) -> Booking | None:
    """The booking with this locator, if one of its passengers has this family name."""
    travels = select(booking_passengers.c.place).where(
        booking_passengers.c.booking_id == bookings.c.booking_id,
        booking_passengers.c.family_name_folded == folded(family_name),
    )
    found = await session.execute(
        select(bookings).where(
            bookings.c.tenant_id == tenant_id,
            bookings.c.record_locator == record_locator,
            travels.exists(),
        )
    )
    row = found.mappings().one_or_none()
    if row is None:
        return None
    return _booking(row, (await _passengers(session, [row["booking_id"]]))[row["booking_id"]])


async def with_client_references(
    session: ReadSession, references: Collection[tuple[TenantId, str]]
) -> dict[tuple[TenantId, str], BookingId]:
    """By tenant and the tenant's own reference, of those that have a booking."""
    values = {
        "tenant_ids": [tenant_id for tenant_id, _ in references],
        "client_references": [reference for _, reference in references],
    }
    return {
        (TenantId(tenant_id), reference): BookingId(booking_id)
        for tenant_id, reference, booking_id in await session.execute(_REFERRED_TO, values)
    }


async def cancel(
    session: WriteSession, asked: Sequence[tuple[TenantId, BookingId]], now: datetime
) -> set[BookingId]:
    """confirmed → cancelled, once; names those that were, and locks them until the end.

    None is cancelled before it was made.
    """
    values = {
        "tenant_ids": [tenant_id for tenant_id, _ in asked],
        "booking_ids": [booking_id for _, booking_id in asked],
        "now": now,
    }
    cancelled = await session.execute(_CANCEL, values)
    return {BookingId(booking_id) for booking_id in cancelled.scalars()}


def _row(new: NewBooking) -> dict[str, Any]:
    booking = new.booking
    return {
        "booking_id": booking.booking_id,
        "tenant_id": new.tenant_id,
        "hold_id": booking.hold_id,
        "record_locator": booking.record_locator,
        "status": booking.status.value,
        "lines": lines_to_json(new.lines),
        "segments": [segment.to_json() for segment in booking.segments],
        "price": booking.price.to_json(),
        "contact_email": booking.contact.email,
        "contact_phone": booking.contact.phone,
        "payment_reference": booking.payment.reference,
        "payment_minor": booking.payment.amount.minor,
        "payment_currency": booking.payment.amount.currency,
        "client_reference": booking.client_reference,
        "created_at": booking.created_at.isoformat(),
        "version": booking.version,
    }


def _passenger_rows(booking: Booking) -> list[dict[str, Any]]:
    return [
        {
            "booking_id": booking.booking_id,
            "place": place,
            "type": passenger.type,
            "given_name": passenger.given_name,
            "family_name": passenger.family_name,
            "family_name_folded": folded(passenger.family_name),
            "born_on": passenger.born_on.isoformat(),
        }
        for place, passenger in enumerate(booking.passengers)
    ]


async def _passengers(
    session: ReadSession, booking_ids: Collection[str]
) -> dict[str, tuple[Passenger, ...]]:
    """Those of each booking, as they were sent."""
    if not booking_ids:
        return {}
    found = await session.execute(_PASSENGERS, {"booking_ids": list(booking_ids)})
    return {
        booking_id: tuple(
            Passenger(one["type"], one["given_name"], one["family_name"], one["born_on"])
            for one in ones
        )
        for booking_id, ones in groupby(found.mappings(), key=itemgetter("booking_id"))
    }


def _booking(row: RowMapping, passengers: tuple[Passenger, ...]) -> Booking:
    cancelled_at: datetime | None = row["cancelled_at"]
    return Booking(
        booking_id=BookingId(row["booking_id"]),
        record_locator=row["record_locator"],
        status=BookingStatus(row["status"]),
        hold_id=HoldId(row["hold_id"]),
        segments=tuple(Segment.from_json(segment) for segment in row["segments"]),
        passengers=passengers,
        contact=Contact(row["contact_email"], row["contact_phone"]),
        payment=Payment(
            row["payment_reference"], Money(row["payment_minor"], row["payment_currency"])
        ),
        price=Price.from_json(row["price"]),
        client_reference=row["client_reference"],
        created_at=row["created_at"].astimezone(UTC),
        cancelled_at=None if cancelled_at is None else cancelled_at.astimezone(UTC),
        version=row["version"],
    )
