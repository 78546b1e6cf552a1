"""Round trips: which outbound and return paths are combined. Pure.

Each of the PATHS_MAX cheapest outbound paths is combined with each of the PATHS_MAX cheapest return paths
that departs late enough after it: at most PATHS_MAX squared offers. The schedule alone selects the paths,
whatever seats are left, so that all pages of a list belong to one result.
"""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final

from app.hold.model import microseconds
from app.inventory.itinerary import PassengerCounts, Segment, price
from app.inventory.model import Flight
from app.search.model import Path, Quote

PATHS_MAX: Final = 40  # of each direction
LEAST_STAY: Final = timedelta(hours=1)


def worth_combining(paths: Sequence[Path]) -> list[Path]:
    """The PATHS_MAX cheapest, in the order given."""
    kept = set(
        sorted(range(len(paths)), key=lambda index: (_rank(paths[index]), index))[:PATHS_MAX]
    )
    return [path for index, path in enumerate(paths) if index in kept]


def combined(
    there: Sequence[Quote], back: Sequence[Quote], passengers: PassengerCounts
) -> list[Quote]:
    """Each pair has one currency and is priced as one itinerary."""
    return [
        _round_trip(one, other, passengers)
        for one in there
        for other in back
        if one.price.total.currency == other.price.total.currency
        and allows_return(one.slice.last, other.slice.first)
    ]


def allows_return(arriving: Segment | Flight, departing: Segment | Flight) -> bool:
    """Whether the return departs from where the outbound arrives, at least LEAST_STAY later."""
    stay = departing.departing_at.utc - arriving.arriving_at.utc
    return arriving.destination == departing.origin and stay >= LEAST_STAY


def _round_trip(one: Quote, other: Quote, passengers: PassengerCounts) -> Quote:
    slices = (*one.slices, *other.slices)
    segments = [offered.segment for slice_ in slices for offered in slice_.segments]
    return Quote(slices, price(segments, passengers))


def _rank(path: Path) -> tuple[int, int, int]:
    """Lowest possible price, duration in minutes, departure."""
    lowest = sum(_lowest_fares(path))
    departing, arriving = path[0].departing_at.utc, path[-1].arriving_at.utc
    return lowest, (arriving - departing) // timedelta(minutes=1), microseconds(departing)


def _lowest_fares(path: Path) -> Iterable[int]:
    for flight in path:
        (cabin,) = flight.cabins
        yield cabin.booking_classes[-1].fare.minor
