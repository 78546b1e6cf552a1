"""The only SQL on bookings; takes a session, never commits. Every query names the tenant."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import RowMapping, func, insert, select, update
from sqlalchemy.dialects import postgresql

from app.booking.model import Booking, BookingStatus, Contact, Passenger, Payment
from app.booking.rules import folded
from app.booking.tables import booking_passengers, bookings
from app.hold.journal import lines_from_json, lines_to_json
from app.ids import BookingId, HoldId, TenantId
from app.inventory.itinerary import Price, Segment
from app.inventory.model import SeatLine
from app.money import Money
from app.storage.database import ReadSession, WriteSession


async def add(
    session: WriteSession, tenant_id: TenantId, booking: Booking, lines: Sequence[SeatLine]
) -> bool:
    """False, and nothing is written, where the locator or the client's reference is taken."""
    added = await session.execute(
        postgresql.insert(bookings)
        .values(
            booking_id=booking.booking_id,
            tenant_id=tenant_id,
            hold_id=booking.hold_id,
            record_locator=booking.record_locator,
            status=booking.status.value,
            lines=lines_to_json(lines),
            segments=[segment.to_json() for segment in booking.segments],
            price=booking.price.to_json(),
            contact_email=booking.contact.email,
            contact_phone=booking.contact.phone,
            payment_reference=booking.payment.reference,
            payment_minor=booking.payment.amount.minor,
            payment_currency=booking.payment.amount.currency,
            client_reference=booking.client_reference,
            created_at=booking.created_at,
            version=booking.version,
        )
        .on_conflict_do_nothing()
        .returning(bookings.c.booking_id)
    )
    if added.one_or_none() is None:
        return False
    await session.execute(insert(booking_passengers), _passenger_rows(booking))
    return True


async def read_own(
    session: ReadSession, tenant_id: TenantId, booking_id: BookingId
) -> Booking | None:
    row = (
        (
            await session.execute(
                select(bookings).where(
                    bookings.c.tenant_id == tenant_id, bookings.c.booking_id == booking_id
                )
            )
        )
        .mappings()
        .one_or_none()
    )
    return None if row is None else await _with_passengers(session, row)


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
    return None if row is None else await _with_passengers(session, row)


async def with_client_reference(
    session: ReadSession, tenant_id: TenantId, client_reference: str
) -> BookingId | None:
    found = await session.execute(
        select(bookings.c.booking_id).where(
            bookings.c.tenant_id == tenant_id, bookings.c.client_reference == client_reference
        )
    )
    booking_id: str | None = found.scalar_one_or_none()
    return None if booking_id is None else BookingId(booking_id)


async def cancel(
    session: WriteSession, tenant_id: TenantId, booking_id: BookingId, now: datetime
) -> bool:
    """confirmed → cancelled, once; locks the row until the end. Never before it was made."""
    result = await session.execute(
        update(bookings)
        .where(
            bookings.c.tenant_id == tenant_id,
            bookings.c.booking_id == booking_id,
            bookings.c.status == BookingStatus.CONFIRMED.value,
        )
        .values(
            status=BookingStatus.CANCELLED.value,
            version=bookings.c.version + 1,
            cancelled_at=func.greatest(now, bookings.c.created_at),
        )
    )
    return result.rowcount == 1


async def lines_of(
    session: ReadSession, tenant_id: TenantId, booking_id: BookingId
) -> tuple[SeatLine, ...]:
    """What an existing booking took out of the inventory."""
    found = await session.execute(
        select(bookings.c.lines).where(
            bookings.c.tenant_id == tenant_id, bookings.c.booking_id == booking_id
        )
    )
    return lines_from_json(found.scalar_one())


def _passenger_rows(booking: Booking) -> list[dict[str, Any]]:
    return [
        {
            "booking_id": booking.booking_id,
            "place": place,
            "type": passenger.type,
            "given_name": passenger.given_name,
            "family_name": passenger.family_name,
            "family_name_folded": folded(passenger.family_name),
            "born_on": passenger.born_on,
        }
        for place, passenger in enumerate(booking.passengers)
    ]


async def _with_passengers(session: ReadSession, row: RowMapping | Mapping[str, Any]) -> Booking:
    found = await session.execute(
        select(booking_passengers)
        .where(booking_passengers.c.booking_id == row["booking_id"])
        .order_by(booking_passengers.c.place)
    )
    passengers = tuple(
        Passenger(one["type"], one["given_name"], one["family_name"], one["born_on"])
        for one in found.mappings()
    )
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
