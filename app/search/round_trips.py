"""There and back: which ways are combined, and into what; pure.

Every way there of the WAYS_MAX with the lowest fares meets every such way back that leaves late enough
after it, so a round trip has WAYS_MAX squared offers at most. Which ways these are is said by the
schedule alone, seats or no seats, so that the pages of a list are of one whole.
"""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final

from app.hold.model import microseconds
from app.inventory.itinerary import PassengerCounts, Segment, price
from app.inventory.model import Flight
from app.search.model import Path, Quote

WAYS_MAX: Final = 40  # of each direction
LEAST_STAY: Final = timedelta(hours=1)


def worth_combining(paths: Sequence[Path]) -> list[Path]:
    """In the order given."""
    kept = set(sorted(range(len(paths)), key=lambda index: (_rank(paths[index]), index))[:WAYS_MAX])
    return [path for index, path in enumerate(paths) if index in kept]


def combined(
    there: Sequence[Quote], back: Sequence[Quote], passengers: PassengerCounts
) -> list[Quote]:
    """In one currency each, priced together."""
    return [
        _together(one, other, passengers)
        for one in there
        for other in back
        if one.price.total.currency == other.price.total.currency
        and turns_in_time(one.slice.last, other.slice.first)
    ]


def turns_in_time(arriving: Segment | Flight, departing: Segment | Flight) -> bool:
    """From where one arrives, and not before one has."""
    stay = departing.departing_at.utc - arriving.arriving_at.utc
    return arriving.destination == departing.origin and stay >= LEAST_STAY


def _together(one: Quote, other: Quote, passengers: PassengerCounts) -> Quote:
    slices = (*one.slices, *other.slices)
    segments = [offered.segment for slice_ in slices for offered in slice_.segments]
    return Quote(slices, price(segments, passengers))


def _rank(path: Path) -> tuple[int, int, int]:
    """The least that it can cost, then the time it takes, then its departure."""
    lowest = sum(_lowest_fares(path))
    departing, arriving = path[0].departing_at.utc, path[-1].arriving_at.utc
    return lowest, (arriving - departing) // timedelta(minutes=1), microseconds(departing)


def _lowest_fares(path: Path) -> Iterable[int]:
    for flight in path:
        (cabin,) = flight.cabins
        yield cabin.booking_classes[-1].fare.minor
