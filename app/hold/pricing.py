"""From what a client asks for to lines, terms and a price; or the reason why not.

Pure but for the catalogue it reads. What it says is what the hold is promised at.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final

from app.errors import ValidationFailed, Violation
from app.hold.errors import NotForSale, OfferExpired, PriceChanged
from app.hold.model import ClassChoice, OfferTerms
from app.ids import FlightId
from app.inventory.itinerary import PassengerCounts, Price, Segment, price, schedule_digest
from app.inventory.model import CabinName, Flight, SeatLine

KEPT_MAX: Final = 20_000  # terms of flights that are held again and again, worked out once


@dataclass(frozen=True, slots=True)
class Itinerary:
    """Choices with everything that follows from them."""

    choices: tuple[ClassChoice, ...]
    passengers: PassengerCounts
    lines: tuple[SeatLine, ...]
    segments: tuple[Segment, ...]
    price: Price
    versions: Mapping[FlightId, int]  # of the flights' terms that were priced


def itinerary(
    choices: tuple[ClassChoice, ...],
    passengers: PassengerCounts,
    flights: Mapping[FlightId, Flight],
    now: datetime,
    offer: OfferTerms | None,
) -> Itinerary:
    """Raises ValidationFailed, NotForSale; of an offer also OfferExpired where its times
    no longer stand, and PriceChanged where its price does not.
    """

    def violation(pointer: str, code: str, detail: str) -> Violation:
        return Violation("pointer", pointer if offer is None else "/offer_id", code, detail)

    wrong: list[Violation] = []
    lines: list[SeatLine] = []
    segments: list[Segment] = []
    for index, choice in enumerate(choices):
        at = f"/segments/{index}"
        flight = flights.get(choice.flight_id)
        if flight is None:
            wrong.append(violation(f"{at}/flight_id", "unknown_flight", "There is no such flight."))
            continue
        found = _terms(flight, choice.booking_class)
        if found is None:
            detail = "The flight has no such booking class."
            wrong.append(violation(f"{at}/booking_class", "unknown_class", detail))
            continue
        cabin, position, segment = found
        lines.append(SeatLine(flight.flight_id, cabin, position, passengers.seats))
        segments.append(segment)
    if not wrong and len({segment.fare.currency for segment in segments}) > 1:
        detail = "All segments of a hold are priced in one currency."
        wrong.append(violation("/segments", "mixed_currency", detail))
    if wrong:
        raise ValidationFailed("The segments cannot be held as asked.", violations=wrong)
    for segment in segments:
        if segment.departing_at.utc <= now:
            raise NotForSale(f"Flight {segment.carrier}{segment.flight_number} has departed.")
    if offer is not None and offer.times != schedule_digest(segments):
        raise OfferExpired("A flight's times were changed since; search again.")
    total = _price(tuple(segments), passengers)
    if offer is not None and total != offer.price:
        raise PriceChanged(total)
    versions = {flight_id: flight.version for flight_id, flight in flights.items()}
    return Itinerary(choices, passengers, tuple(lines), tuple(segments), total, versions)


@lru_cache(maxsize=KEPT_MAX)
def _terms(flight: Flight, booking_class: str) -> tuple[CabinName, int, Segment] | None:
    found = flight.find(booking_class)
    if found is None:
        return None
    cabin, position = found
    return cabin.cabin, position, Segment.of(flight, cabin, position)


@lru_cache(maxsize=KEPT_MAX)
def _price(segments: tuple[Segment, ...], passengers: PassengerCounts) -> Price:
    return price(segments, passengers)
