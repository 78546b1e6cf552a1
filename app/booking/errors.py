"""Refusals that only a booking knows; a hold's own are in app/hold/errors.py."""

from app.errors import DomainError, ErrorKind
from app.ids import BookingId


class DuplicateBooking(DomainError):
    kind = ErrorKind.CONFLICT
    code = "duplicate_booking"
    title = "This client_reference has a booking"

    def __init__(self, booking_id: BookingId) -> None:
        super().__init__(
            "A booking with this client_reference was made before; read it, or choose another one.",
            facts={"booking_id": booking_id},
        )
