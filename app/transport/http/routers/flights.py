"""`/v1/flights`: dated flights put by the airline, and their limits and fares changed under load."""

from typing import Annotated

from fastapi import Response
from pydantic import Field, StrictInt, StringConstraints

from app.clock import Clock
from app.concurrency.detached import run_detached
from app.errors import NotFound
from app.identity.principal import Scope
from app.ids import FlightId, is_flight_id
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
    checked,
)
from app.schedule.service import ScheduleService
from app.transport.http.pipeline.guarded_route import ScopedRouter
from app.transport.http.problems.responses import documented
from app.transport.http.wire.availability import Availability, availability_out
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
    """Classes are nested, from the highest fare down; limits sell, capacity only informs."""

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
    version: int = Field(description="Counts the changes of times, classes, fares and limits.")
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
    """What is left out stays as it is."""

    cabins: Annotated[list[CabinChangeIn], Field(min_length=1, max_length=len(CabinName))]


def flights_router(schedule: ScheduleService, clock: Clock) -> ScopedRouter:
    router = ScopedRouter(scope=Scope.INVENTORY_ADMIN, prefix="/v1/flights", tags=["flights"])

    @router.put(
        "/{flight_id}",
        summary="Put a dated flight",
        response_description="A known flight, as it is now.",
        responses={
            201: {"model": FlightOut, "description": "A new flight."},
            **documented("not_found", "flight_in_use"),
        },
    )
    async def put_flight(flight_id: str, flight: FlightIn, response: Response) -> FlightOut:
        """The caller chooses the id: `flt_` and up to 60 letters, digits, `_` or `-`. Times, stations,
        carrier and classes of a known flight change only while no seat of it is held or sold.
        """
        draft = flight.draft(_known_form(flight_id))
        stored, is_new = await run_detached(schedule.put(checked(draft)))
        response.status_code = 201 if is_new else 200
        return flight_out(stored)

    @router.get(
        "/{flight_id}",
        summary="Read a dated flight",
        response_description="The flight.",
        responses=documented("not_found"),
    )
    async def read_flight(flight_id: str) -> FlightOut:
        """Its times, cabins, classes, fares and limits; what is open is its availability."""
        return flight_out(await schedule.get(_known_form(flight_id)))

    @router.patch(
        "/{flight_id}/inventory",
        summary="Change authorization levels and fares while selling",
        response_description="What is open after the change.",
        responses=documented("not_found"),
    )
    async def change_inventory(flight_id: str, change: InventoryChangeIn) -> Availability:
        """Works while the flight is being sold. A limit below what is taken closes the class and takes
        nothing away: what was held can still be booked.
        """
        changes = [cabin.value() for cabin in change.cabins]
        flight, counts = await run_detached(schedule.patch(_known_form(flight_id), changes))
        return availability_out(flight, counts, clock(), exact=True)

    return router


def _known_form(flight_id: str) -> FlightId:
    if not is_flight_id(flight_id):
        raise NotFound("No flight has this id.")
    return FlightId(flight_id)


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
