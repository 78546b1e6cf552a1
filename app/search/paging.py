"""The order of a list of offers, and where its next page begins; pure.

A page begins after the *place* of the last offer that was listed, not after a number of offers, so that no
offer is skipped or repeated when others appear or sell out between two pages. An itinerary whose cheapest
class sold out meanwhile moves to a later place; the position has one bit for each itinerary of the day that
was already listed, so that it is not listed again. If the flights of the day changed, the place alone counts.
"""

import zlib
from collections.abc import Iterable, Sequence
from datetime import timedelta
from operator import itemgetter

from app.hold.model import microseconds
from app.ids import FlightId
from app.search.model import Quote, Sort

_first = itemgetter(0)
Position = tuple[str | int, ...]
"""The place of the last listed offer, the bits of the listed itineraries, and a digest of all itineraries."""


def page_of(
    quotes: Sequence[Quote],
    day: Iterable[tuple[FlightId, ...]],
    sort: Sort,
    after: Position | None,
    limit: int,
) -> tuple[list[Quote], Position | None]:
    """The quotes of one page, and the position of the next if there is one.

    `day` names every itinerary that may be quoted on any page by its flights, in an order that stays;
    it is looked at where there is a page before or behind this one.
    """
    placed = [(_place(quote, sort), quote) for quote in quotes]
    if after is None and len(placed) <= limit:
        return [quote for _, quote in sorted(placed, key=_first)], None
    names = list(day)
    bits = {flight_ids: 1 << index for index, flight_ids in enumerate(names)}
    digest = zlib.crc32("\n".join(map(" ".join, names)).encode())
    listed = 0
    if after is not None:
        *place, listed_before, digest_before = after
        listed = int(listed_before) if digest_before == digest else 0
        placed = [
            (here, quote)
            for here, quote in placed
            if here > tuple(place) and not listed & bits[quote.flight_ids]
        ]
    page = sorted(placed, key=_first)[:limit]
    if len(placed) > limit:
        for _, quote in page:
            listed |= bits[quote.flight_ids]
        return [quote for _, quote in page], (*page[-1][0], listed, digest)
    return [quote for _, quote in page], None


def _place(quote: Quote, sort: Sort) -> Position:
    """A total order: ties are broken by departure and then by the flights' ids."""
    departure = microseconds(quote.slice.first.departing_at.utc)
    by_departure: Position = (departure, " ".join(quote.flight_ids))
    match sort:
        case Sort.PRICE:  # amounts of two currencies cannot be compared: each currency by itself
            return (quote.price.total.currency, quote.price.total.minor, *by_departure)
        case Sort.DEPARTURE:
            return by_departure
        case Sort.DURATION:
            lasting = sum((one.duration for one in quote.slices), start=timedelta(0))
            return (lasting // timedelta(microseconds=1), *by_departure)
