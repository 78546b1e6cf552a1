"""Refusals that only a booking knows; a hold's own are in app/hold/errors.py."""

from app.errors import DomainError, ErrorKind, Violation
from app.hold.errors import SoldOut
from app.ids import BookingId
from app.inventory.model import SeatLine


class DuplicateBooking(DomainError):
    kind = ErrorKind.CONFLICT
    code = "duplicate_booking"
    title = "This client_reference has a booking"

    def __init__(self, booking_id: BookingId) -> None:
        super().__init__(
            "A booking with this client_reference was made before; read it, or choose another one.",
            facts={"booking_id": booking_id},
        )


def seats_gone(line: SeatLine, booking_class: str) -> SoldOut:
    """A live hold whose seats are sold: said in the words that a client knows."""
    return SoldOut(
        "The seats of this hold cannot be sold; nothing was booked.",
        violations=[
            Violation(
                "pointer",
                "/hold_id",
                SoldOut.code,
                "The class has no seats left under its ceiling.",
                facts={
                    "flight_id": line.flight_id,
                    "booking_class": booking_class,
                    "requested": line.seats,
                    "open": 0,
                },
            )
        ],
        facts={"next_release_at": None},
    )
