"""Booking requests for tests: they fit the hold by default; a keyword varies one thing."""

from collections.abc import Sequence
from datetime import date

from app.booking.model import (
    BookingRequest,
    Contact,
    DrawLocator,
    Passenger,
    Payment,
    draw_locator,
)
from app.booking.service import BookingService
from app.hold.model import Hold
from app.ids import HoldId
from app.inventory.itinerary import PassengerCounts, PassengerType
from app.money import Money
from app.wiring import Core

CONTACT = Contact("ana@example.com", "+56912345678")
_BORN: dict[PassengerType, date] = {
    "ADT": date(1990, 4, 2),
    "CHD": date(2020, 4, 2),
    "INF": date(2026, 4, 2),
}


def passenger(
    type: PassengerType = "ADT",  # noqa: A002 - the member's name
    *,
    given_name: str = "Ana",
    family_name: str = "Pérez",
    born_on: date | None = None,
) -> Passenger:
    return Passenger(type, given_name, family_name, born_on or _BORN[type])


def passengers(counts: PassengerCounts) -> tuple[Passenger, ...]:
    """As many of each type as counted."""
    return (
        (passenger("ADT"),) * counts.adults
        + (passenger("CHD"),) * counts.children
        + (passenger("INF"),) * counts.infants
    )


def wanted(
    hold: Hold,
    *,
    hold_id: HoldId | None = None,
    travellers: Sequence[Passenger] | None = None,
    contact: Contact = CONTACT,
    amount: Money | None = None,
    reference: str = "pay-1",
    client_reference: str | None = None,
) -> BookingRequest:
    """A request that books the hold."""
    return BookingRequest(
        hold_id or hold.hold_id,
        passengers(hold.passengers) if travellers is None else tuple(travellers),
        contact,
        Payment(reference, amount or hold.price.total),
        client_reference,
    )


def booking_service(core: Core, draw: DrawLocator = draw_locator) -> BookingService:
    return BookingService(
        core.database, core.pins, core.availability, core.background, core.clock, draw
    )
