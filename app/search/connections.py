"""Which flights connect, and which connections are worth showing to a traveller. Pure.

Connections are compared by time, since the schedule has no distances. The comparison with the rest of the
day (`sensible`) uses the schedule alone, so that a list does not change with the seats; the comparison by
price (`undominated`) uses what can be held.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Final

from app.inventory.model import Flight
from app.search.model import Path, Quote

DEFAULT_MINUTES: Final = 60  # to change flights, where the station has no time of its own
LONGEST_WAIT: Final = timedelta(hours=24)  # longer is a stay, not a connection
_FLOWN_MORE = timedelta(hours=1)
_NIGHT = timedelta(hours=12)
_Rival = tuple[datetime, datetime, int]
"""Departure, arrival and price."""


def connects(first: Flight, second: Flight, minutes: Mapping[str, int]) -> bool:
    """The condition of the search statement, for two flights that are already read.

    `minutes` has the minimum connection times of stations that have one.
    """
    if first.destination != second.origin:
        return False
    least = timedelta(minutes=minutes.get(first.destination, DEFAULT_MINUTES))
    return least <= second.departing_at.utc - first.arriving_at.utc <= LONGEST_WAIT


def sensible(paths: Sequence[Path]) -> list[Path]:
    """Without the detours: connections in the air for more than twice the least of the market's day and
    an hour, or under way for more than twice the fastest and a night.
    """
    if not paths:
        return []
    flown = 2 * min(map(_flown, paths)) + _FLOWN_MORE
    elapsed = 2 * min(map(_elapsed, paths)) + _NIGHT
    return [
        path
        for path in paths
        if len(path) == 1 or (_flown(path) <= flown and _elapsed(path) <= elapsed)
    ]


def undominated(quotes: Iterable[Quote]) -> list[Quote]:
    """Without connections of which another through the same station leaves later, arrives earlier and
    costs no more. Two that share a flight are a choice of how long to wait: both stay.
    """
    kept: list[Quote] = []
    rivals: defaultdict[tuple[str, str], list[_Rival]] = defaultdict(list)
    timed = ((quote.slice.first.departing_at.utc, quote) for quote in quotes)
    for departing, quote in sorted(timed, key=itemgetter(0), reverse=True):
        way = quote.slice
        if len(way.segments) > 1:  # what a left-out one beats, the one that beat it beats too
            total, arriving = quote.price.total, way.last.arriving_at.utc
            through = rivals[way.first.destination, total.currency]
            if any(
                later > departing and earlier < arriving and minor <= total.minor
                for later, earlier, minor in through
            ):
                continue
            through.append((departing, arriving, total.minor))
        kept.append(quote)
    return kept


def _flown(path: Path) -> timedelta:
    return sum((flight.duration for flight in path), start=timedelta(0))


def _elapsed(path: Path) -> timedelta:
    return path[-1].arriving_at.utc - path[0].departing_at.utc
