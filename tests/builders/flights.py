"""Flights for tests: valid by default; a keyword varies one thing."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from app.ids import FlightId
from app.inventory.model import BookingClass, Cabin, CabinName, FareClass, Flight
from app.money import Money
from app.schedule.model import FlightDraft, WallTime, validated
from app.schedule.store import insert
from app.storage.database import Database, WriteSession

Classes = Sequence[tuple[str, int, Money]]

ECONOMY: Classes = (("Y", 10, Money(129_900, "CLP")), ("M", 6, Money(89_900, "CLP")))
DEPARTING = datetime.fromisoformat("2027-03-10T08:30")  # by the clock of the origin
STATIONS = {
    "SCL": "America/Santiago",
    "GRU": "America/Sao_Paulo",
    "LIM": "America/Lima",
    "BOG": "America/Bogota",
    "EZE": "America/Argentina/Buenos_Aires",
}


def draft(
    *,
    flight_id: str = "flt_LA801-20270310",
    carrier: str = "LA",
    flight_number: str = "801",
    origin: str = "SCL",
    destination: str = "GRU",
    departing: datetime = DEPARTING,
    departing_time_zone: str | None = None,
    arriving: datetime | None = None,
    arriving_time_zone: str | None = None,
    classes: Classes = ECONOMY,
    cabins: tuple[Cabin, ...] | None = None,
) -> FlightDraft:
    """One economy cabin of `classes` (letter, limit, fare), unless `cabins` says otherwise."""
    return FlightDraft(
        flight_id,
        carrier,
        flight_number,
        origin,
        destination,
        WallTime(departing, _time_zone(origin, departing_time_zone)),
        WallTime(
            arriving or departing + timedelta(hours=6),
            _time_zone(destination, arriving_time_zone),
        ),
        (cabin(classes),) if cabins is None else cabins,
    )


def flight(
    *,
    flight_id: str = "flt_LA801-20270310",
    carrier: str = "LA",
    flight_number: str = "801",
    origin: str = "SCL",
    destination: str = "GRU",
    departing: datetime = DEPARTING,
    departing_time_zone: str | None = None,
    arriving: datetime | None = None,
    arriving_time_zone: str | None = None,
    classes: Classes = ECONOMY,
    cabins: tuple[Cabin, ...] | None = None,
) -> Flight:
    """As `draft`, validated: a flight that is not valid raises ValidationFailed."""
    return validated(
        draft(
            flight_id=flight_id,
            carrier=carrier,
            flight_number=flight_number,
            origin=origin,
            destination=destination,
            departing=departing,
            departing_time_zone=departing_time_zone,
            arriving=arriving,
            arriving_time_zone=arriving_time_zone,
            classes=classes,
            cabins=cabins,
        )
    )


def cabin(
    classes: Classes = ECONOMY,
    *,
    name: CabinName = CabinName.ECONOMY,
    capacity: int = 150,
) -> Cabin:
    return Cabin(
        name,
        capacity,
        tuple(FareClass(BookingClass(letter), limit, fare) for letter, limit, fare in classes),
    )


async def put_flights(database: Database, *flights: Flight) -> None:
    """Store new flights, in PostgreSQL only."""

    async def work(session: WriteSession) -> set[FlightId]:
        return await insert(session, flights)

    added = await database.run_in_transaction(work)
    assert len(added) == len(flights), "a flight id was in the database already"


def _time_zone(station: str, given: str | None) -> str:
    return STATIONS.get(station, "UTC") if given is None else given
