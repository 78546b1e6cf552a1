"""What a way costs now: the cheapest class that is open on each flight; pure."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from app.errors import HoldStoreUnavailable
from app.hold.model import ClassChoice
from app.ids import FlightId
from app.inventory.itinerary import PassengerCounts, Segment, price
from app.inventory.model import SEATS_SHOWN_MAX, CabinCounts, CabinName, Flight
from app.search.model import OfferedSegment, Path, Quote, Slice

OFFERED_MAX: Final = 16_384

Counts = Mapping[FlightId, Mapping[CabinName, CabinCounts]]


def cheapest(flight: Flight, counts: Counts, passengers: PassengerCounts) -> OfferedSegment | None:
    """Fares only fall and what is open only shrinks from class to class, so the last one that has the
    seats is the cheapest. A cabin whose layout the hold store does not have is not in `counts`.
    """
    (cabin,) = flight.cabins
    of_cabin = counts[flight.flight_id].get(cabin.cabin)
    opened = () if of_cabin is None else of_cabin.open
    wanted = passengers.seats
    for position in range(len(opened), 0, -1):
        if opened[position - 1] >= wanted:
            return _offered(flight, position, min(opened[position - 1], SEATS_SHOWN_MAX))
    return None


@lru_cache(maxsize=OFFERED_MAX)
def _offered(flight: Flight, position: int, seats_left: int) -> OfferedSegment:
    """One object for what is offered, again and again, of a flight that was read once."""
    (cabin,) = flight.cabins
    return OfferedSegment(Segment.of(flight, cabin, position), seats_left)


def quote(
    path: Path, open_: Mapping[FlightId, OfferedSegment | None], passengers: PassengerCounts
) -> Quote | None:
    """None unless every flight has the seats; all are priced in one currency."""
    found: list[OfferedSegment] = []
    for flight in path:
        one = open_[flight.flight_id]
        if one is None:
            return None
        found.append(one)
    return Quote((Slice(tuple(found)),), price([one.segment for one in found], passengers))


def offered(
    choice: ClassChoice, flights: Mapping[FlightId, Flight], counts: Counts
) -> OfferedSegment | None:
    """The choice as it is sold now; None where the flight no longer has the class."""
    flight = flights.get(choice.flight_id)
    found = None if flight is None else flight.find(choice.booking_class)
    if flight is None or found is None:
        return None
    cabin, position = found
    of_cabin = counts[flight.flight_id].get(cabin.cabin)
    if of_cabin is None:  # its layout is on its way to the hold store
        raise HoldStoreUnavailable
    seats_left = min(of_cabin.open[position - 1], SEATS_SHOWN_MAX)
    return OfferedSegment(Segment.of(flight, cabin, position), seats_left)
