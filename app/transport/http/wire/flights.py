"""Schemas of dated flights, for requests and answers."""

from typing import Annotated

from pydantic import Field, StrictInt, StringConstraints

from app.ids import FlightId
from app.inventory import model as inventory
from app.inventory.model import CabinName
from app.schedule.changes import CabinChange, ClassChange
from app.schedule.model import (
    CAPACITY_MAX,
    CARRIER_PATTERN,
    CLASSES_MAX,
    FLIGHT_NUMBER_PATTERN,
    LIMIT_MAX,
    FlightDraft,
    WallTime,
)
from app.transport.http.wire.schemas import (
    BookingClassCode,
    Input,
    LocalDateTime,
    Money,
    MoneyIn,
    Output,
    Station,
    Time,
    money_out,
    time_out,
)

Limit = Annotated[StrictInt, Field(ge=0, le=LIMIT_MAX)]


class WallTimeIn(Input):
    local: LocalDateTime = Field(examples=["2026-12-10T08:30:00"])
    time_zone: Annotated[str, StringConstraints(min_length=1, max_length=64)] = Field(
        examples=["America/Santiago"]
    )

    def value(self) -> WallTime:
        return WallTime(self.local, self.time_zone)


class FareClassIn(Input):
    booking_class: BookingClassCode
    limit: Limit
    fare: MoneyIn

    def value(self) -> inventory.FareClass:
        return inventory.FareClass(
            inventory.BookingClass(self.booking_class), self.limit, self.fare.value()
        )


class CabinIn(Input):
    """Classes are nested, from the highest fare down. Limits decide what is sold, not the capacity."""

    cabin: CabinName
    capacity: Annotated[StrictInt, Field(ge=1, le=CAPACITY_MAX)]
    booking_classes: Annotated[list[FareClassIn], Field(min_length=1, max_length=CLASSES_MAX)]

    def value(self) -> inventory.Cabin:
        classes = tuple(fare_class.value() for fare_class in self.booking_classes)
        return inventory.Cabin(self.cabin, self.capacity, classes)


class FlightIn(Input):
    carrier: Annotated[str, StringConstraints(pattern=CARRIER_PATTERN)] = Field(examples=["LA"])
    flight_number: Annotated[str, StringConstraints(pattern=FLIGHT_NUMBER_PATTERN)] = Field(
        examples=["801"]
    )
    origin: Station = Field(examples=["SCL"])
    destination: Station = Field(examples=["GRU"])
    departing_at: WallTimeIn
    arriving_at: WallTimeIn
    cabins: Annotated[list[CabinIn], Field(min_length=1, max_length=len(CabinName))]

    def draft(self, flight_id: FlightId) -> FlightDraft:
        return FlightDraft(
            flight_id,
            self.carrier,
            self.flight_number,
            self.origin,
            self.destination,
            self.departing_at.value(),
            self.arriving_at.value(),
            tuple(cabin.value() for cabin in self.cabins),
        )


class FareClassOut(Output):
    booking_class: str
    limit: int
    fare: Money


class CabinOut(Output):
    cabin: CabinName
    capacity: int
    booking_classes: list[FareClassOut]


class FlightOut(Output):
    id: str
    version: int = Field(description="Grows with each change of times, classes, fares and limits.")
    carrier: str
    flight_number: str
    origin: str
    destination: str
    departing_at: Time
    arriving_at: Time
    cabins: list[CabinOut]


class ClassChangeIn(Input):
    booking_class: BookingClassCode
    limit: Limit | None = None
    fare: MoneyIn | None = None

    def value(self) -> ClassChange:
        fare = None if self.fare is None else self.fare.value()
        return ClassChange(self.booking_class, self.limit, fare)


class CabinChangeIn(Input):
    cabin: CabinName
    booking_classes: Annotated[list[ClassChangeIn], Field(min_length=1, max_length=CLASSES_MAX)]

    def value(self) -> CabinChange:
        return CabinChange(self.cabin, tuple(one.value() for one in self.booking_classes))


class InventoryChangeIn(Input):
    """Omitted members stay unchanged."""

    cabins: Annotated[list[CabinChangeIn], Field(min_length=1, max_length=len(CabinName))]


def flight_out(flight: inventory.Flight) -> FlightOut:
    return FlightOut(
        id=flight.flight_id,
        version=flight.version,
        carrier=flight.carrier,
        flight_number=flight.flight_number,
        origin=flight.origin,
        destination=flight.destination,
        departing_at=time_out(flight.departing_at),
        arriving_at=time_out(flight.arriving_at),
        cabins=[
            CabinOut(
                cabin=cabin.cabin,
                capacity=cabin.capacity,
                booking_classes=[
                    FareClassOut(
                        booking_class=fare_class.booking_class,
                        limit=fare_class.limit,
                        fare=money_out(fare_class.fare),
                    )
                    for fare_class in cabin.booking_classes
                ],
            )
            for cabin in flight.cabins
        ],
    )
