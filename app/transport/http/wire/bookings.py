"""Schemas of bookings, for requests and answers."""

from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints

from app.booking import model, rules
from app.booking.model import BookingRequest, BookingStatus
from app.ids import HoldId
from app.inventory.itinerary import SEATS_MAX, PassengerType
from app.transport.http.wire.schemas import (
    ClientReference,
    Day,
    Input,
    Instant,
    MoneyIn,
    Output,
    Price,
    Segment,
    price_out,
    segment_out,
)

PASSENGERS_MAX = 2 * SEATS_MAX  # with an infant on every lap
EMAIL_MAX = 254
PHONE_MAX = 16
REFERENCE_MAX = 255
_ID_MAX = 64

Name = Annotated[
    str, StringConstraints(min_length=1, max_length=64), AfterValidator(rules.checked_name)
]
Email = Annotated[
    str, StringConstraints(min_length=1, max_length=EMAIL_MAX), AfterValidator(rules.normal_email)
]
Phone = Annotated[
    str, StringConstraints(min_length=1, max_length=PHONE_MAX), AfterValidator(rules.normal_phone)
]

_HOLD_ID = "hold_ukrkp4hkmuwzrbqeajzdplw2xm"
_ANA: dict[str, Any] = {
    "type": "ADT",
    "given_name": "Ana",
    "family_name": "Pérez",
    "born_on": "1990-04-02",
}
_CONTACT: dict[str, Any] = {"email": "ana@example.com", "phone": "+56912345678"}
_PAYMENT: dict[str, Any] = {"reference": "pay-8c1f", "amount": "129900", "currency": "CLP"}


class PassengerIn(Input):
    """Age on the day of the first departure: INF under 2, CHD 2 to 11, ADT 12 and older."""

    type: PassengerType
    given_name: Name = Field(examples=["Ana"])
    family_name: Name = Field(examples=["Pérez"])
    born_on: Day = Field(examples=["1990-04-02"])

    def value(self) -> model.Passenger:
        return model.Passenger(self.type, self.given_name, self.family_name, self.born_on)


class ContactIn(Input):
    email: Email = Field(examples=["ana@example.com"])
    phone: Phone = Field(description="E.164.", examples=["+56912345678"])


class PaymentIn(MoneyIn):
    """The payment, made elsewhere. It must equal the price of the hold."""

    reference: Annotated[str, StringConstraints(min_length=1, max_length=REFERENCE_MAX)]


class BookingIn(Input):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "hold_id": _HOLD_ID,
                    "passengers": [_ANA],
                    "contact": _CONTACT,
                    "payment": _PAYMENT,
                    "client_reference": "order-4711",
                }
            ]
        }
    )

    hold_id: Annotated[str, StringConstraints(min_length=1, max_length=_ID_MAX)]
    passengers: Annotated[list[PassengerIn], Field(min_length=1, max_length=PASSENGERS_MAX)]
    contact: ContactIn
    payment: PaymentIn
    client_reference: ClientReference | None = None

    def value(self) -> BookingRequest:
        return BookingRequest(
            hold_id=HoldId(self.hold_id),
            passengers=tuple(passenger.value() for passenger in self.passengers),
            contact=model.Contact(self.contact.email, self.contact.phone),
            payment=model.Payment(self.payment.reference, self.payment.value()),
            client_reference=self.client_reference,
        )


class PassengerOut(Output):
    type: PassengerType
    given_name: str
    family_name: str
    born_on: Day


class ContactOut(Output):
    email: str
    phone: str


class PaymentOut(Output):
    reference: str
    amount: str
    currency: str


class BookingOut(Output):
    id: str = Field(examples=["bkg_3yyn5gcuwvkutmkwn5pevx3ite"])
    record_locator: str = Field(
        description="Six characters for people; finds the booking together with a family name.",
        examples=["K7PX2M"],
    )
    status: BookingStatus
    hold_id: str = Field(examples=[_HOLD_ID])
    segments: list[Segment]
    passengers: list[PassengerOut]
    contact: ContactOut
    payment: PaymentOut
    price: Price
    client_reference: str | None
    created_at: Instant
    cancelled_at: Instant | None
    version: int = Field(
        ge=1, description="Starts at 1; the `sequence` of the last event about the booking."
    )


def booking_out(booking: model.Booking) -> BookingOut:
    paid = booking.payment.amount
    return BookingOut(
        id=booking.booking_id,
        record_locator=booking.record_locator,
        status=booking.status,
        hold_id=booking.hold_id,
        segments=[segment_out(segment) for segment in booking.segments],
        passengers=[
            PassengerOut(
                type=passenger.type,
                given_name=passenger.given_name,
                family_name=passenger.family_name,
                born_on=passenger.born_on,
            )
            for passenger in booking.passengers
        ],
        contact=ContactOut(email=booking.contact.email, phone=booking.contact.phone),
        payment=PaymentOut(
            reference=booking.payment.reference, amount=paid.amount, currency=paid.currency
        ),
        price=price_out(booking.price),
        client_reference=booking.client_reference,
        created_at=booking.created_at,
        cancelled_at=booking.cancelled_at,
        version=booking.version,
    )
