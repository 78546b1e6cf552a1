"""Bookings as values: passengers, contact, payment, and what was sold."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from app.ids import BookingId, HoldId
from app.inventory.itinerary import PassengerCounts, PassengerType, Price, Segment
from app.money import Money

LOCATOR_ALPHABET = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"  # nothing that is read as something else
LOCATOR_LENGTH = 6

DrawLocator = Callable[[], str]
"""Draws a record locator that cannot be guessed; the database knows whether it is free."""


class BookingStatus(StrEnum):
    CONFIRMED = "confirmed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Passenger:
    type: PassengerType
    given_name: str
    family_name: str
    born_on: date


@dataclass(frozen=True, slots=True)
class Contact:
    """Both in their normal form: see `rules.normal_email` and `rules.normal_phone`."""

    email: str
    phone: str


@dataclass(frozen=True, slots=True)
class Payment:
    reference: str
    amount: Money


@dataclass(frozen=True, slots=True)
class BookingRequest:
    hold_id: HoldId
    passengers: tuple[Passenger, ...]
    contact: Contact
    payment: Payment
    client_reference: str | None = None


@dataclass(frozen=True, slots=True)
class Booking:
    """`version` counts from 1 and is the sequence of the last event about it."""

    booking_id: BookingId
    record_locator: str
    status: BookingStatus
    hold_id: HoldId
    segments: tuple[Segment, ...]
    passengers: tuple[Passenger, ...]
    contact: Contact
    payment: Payment
    price: Price
    client_reference: str | None
    created_at: datetime
    cancelled_at: datetime | None = None
    version: int = 1

    @property
    def counts(self) -> PassengerCounts:
        return counted(self.passengers)


def counted(passengers: tuple[Passenger, ...]) -> PassengerCounts:
    types = [passenger.type for passenger in passengers]
    return PassengerCounts(types.count("ADT"), types.count("CHD"), types.count("INF"))


def draw_locator() -> str:
    return "".join(secrets.choice(LOCATOR_ALPHABET) for _ in range(LOCATOR_LENGTH))
