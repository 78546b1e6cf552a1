"""The events of a booking: what was sold and given back, never to whom.

No passenger data, no contact, no record locator and none of the client's own texts.
"""

from typing import Any, Final

from app.booking.model import Booking
from app.ids import TenantId
from app.outbox.model import EventType, Fact

DATA_VERSION: Final = 1


def confirmed(tenant_id: TenantId, booking: Booking) -> Fact:
    return Fact(
        type=EventType.BOOKING_CONFIRMED,
        version=DATA_VERSION,
        tenant_id=tenant_id,
        aggregate_type="booking",
        aggregate_id=booking.booking_id,
        sequence=booking.version,
        occurred_at=booking.created_at,
        data=_data(booking),
    )


def cancelled(tenant_id: TenantId, booking: Booking) -> Fact:
    assert booking.cancelled_at is not None, "it was cancelled"
    return Fact(
        type=EventType.BOOKING_CANCELLED,
        version=DATA_VERSION,
        tenant_id=tenant_id,
        aggregate_type="booking",
        aggregate_id=booking.booking_id,
        sequence=booking.version,
        occurred_at=booking.cancelled_at,
        data=_data(booking),
    )


def _data(booking: Booking) -> dict[str, Any]:
    total = booking.price.total
    return {
        "booking_id": booking.booking_id,
        "hold_id": booking.hold_id,
        "segments": [
            {
                "flight_id": segment.flight_id,
                "booking_class": segment.booking_class,
                "seats": booking.counts.seats,
            }
            for segment in booking.segments
        ],
        "passengers": booking.counts.to_json(),
        "price": {"amount": total.amount, "currency": total.currency},
    }
