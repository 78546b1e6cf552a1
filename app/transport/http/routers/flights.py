"""`/v1/flights`: the airline puts dated flights, and changes limits and fares while they are sold."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Protocol

from fastapi import Depends, Response

from app.concurrency.detached import run_detached
from app.errors import NotFound
from app.identity.principal import Scope
from app.ids import FlightId, is_flight_id
from app.inventory.model import CabinCounts, CabinName, Flight
from app.schedule.changes import CabinChange
from app.schedule.model import validated
from app.transport.http.pipeline.dependencies import CurrentClock
from app.transport.http.pipeline.guarded_route import ScopedRouter
from app.transport.http.pipeline.services import Service
from app.transport.http.problems.responses import documented
from app.transport.http.wire.availability import Availability, availability_out
from app.transport.http.wire.flights import FlightIn, FlightOut, InventoryChangeIn, flight_out


class Schedule(Protocol):
    """The methods of `app.schedule.service.ScheduleService` that these endpoints call."""

    async def get(self, flight_id: FlightId) -> Flight: ...

    async def put(self, flight: Flight) -> tuple[Flight, bool]: ...

    async def patch(
        self, flight_id: FlightId, changes: Sequence[CabinChange]
    ) -> tuple[Flight, Mapping[CabinName, CabinCounts]]: ...


SCHEDULE = Service[Schedule]("schedule")
ScheduleService = Annotated[Schedule, Depends(SCHEDULE)]

router = ScopedRouter(scope=Scope.INVENTORY_ADMIN, prefix="/v1/flights", tags=["flights"])


@router.put(
    "/{flight_id}",
    summary="Put a dated flight",
    response_description="An existing flight, in its new state.",
    responses={
        201: {"model": FlightOut, "description": "A new flight."},
        **documented("not_found", "flight_in_use"),
    },
)
async def put_flight(
    schedule: ScheduleService, flight_id: str, flight: FlightIn, response: Response
) -> FlightOut:
    """The caller chooses the id: `flt_` and up to 60 letters, digits, `_` or `-`. Times, stations,
    carrier and classes of an existing flight can change only while none of its seats is held or sold.
    """
    draft = flight.draft(_known_form(flight_id))
    stored, is_new = await run_detached(schedule.put(validated(draft)))
    response.status_code = 201 if is_new else 200
    return flight_out(stored)


@router.get(
    "/{flight_id}",
    summary="Read a dated flight",
    response_description="The flight.",
    responses=documented("not_found"),
)
async def read_flight(schedule: ScheduleService, flight_id: str) -> FlightOut:
    """Times, cabins, classes, fares and limits. For open seats, read the availability."""
    return flight_out(await schedule.get(_known_form(flight_id)))


@router.patch(
    "/{flight_id}/inventory",
    summary="Change authorization levels and fares while selling",
    response_description="The availability after the change.",
    responses=documented("not_found"),
)
async def change_inventory(
    schedule: ScheduleService, clock: CurrentClock, flight_id: str, change: InventoryChangeIn
) -> Availability:
    """Works while the flight is being sold. A limit below the taken seats closes the class; holds that
    exist can still be booked.
    """
    changes = [cabin.value() for cabin in change.cabins]
    flight, counts = await run_detached(schedule.patch(_known_form(flight_id), changes))
    return availability_out(flight, counts, clock(), exact=True)


def _known_form(flight_id: str) -> FlightId:
    if not is_flight_id(flight_id):
        raise NotFound("No flight has this id.")
    return FlightId(flight_id)
