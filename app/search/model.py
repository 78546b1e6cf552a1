"""What is searched for, and what is found: pure values."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum

from app.ids import FlightId
from app.inventory.itinerary import PassengerCounts, Price, Segment
from app.inventory.model import CabinCounts, CabinName, Flight
from app.money import Money

Path = tuple[Flight, ...]
"""Flights that follow each other from one place to another: one, or two that connect."""


class Sort(StrEnum):
    PRICE = "price"
    DEPARTURE = "departure"
    DURATION = "duration"


@dataclass(frozen=True, slots=True)
class SearchQuery:
    origin: str
    destination: str
    departure_date: date  # by the origin's own calendar
    passengers: PassengerCounts
    cabin: CabinName = CabinName.ECONOMY
    sort: Sort = Sort.PRICE
    max_connections: int = 1
    return_date: date | None = None  # by the destination's own calendar

    @property
    def back(self) -> "SearchQuery":
        """The way back, asked for by itself."""
        assert self.return_date is not None, "it is a round trip"
        return replace(
            self,
            origin=self.destination,
            destination=self.origin,
            departure_date=self.return_date,
            return_date=None,
        )


@dataclass(frozen=True, slots=True)
class OfferedSegment:
    segment: Segment
    seats_left: int  # in the offered class, 1 to 9; nine stands for nine or more


@dataclass(frozen=True, slots=True)
class Slice:
    """One way of a journey: segments that follow each other."""

    segments: tuple[OfferedSegment, ...]

    @property
    def first(self) -> Segment:
        return self.segments[0].segment

    @property
    def last(self) -> Segment:
        return self.segments[-1].segment

    @property
    def flight_ids(self) -> tuple[FlightId, ...]:
        return tuple(one.segment.flight_id for one in self.segments)

    @property
    def duration(self) -> timedelta:
        return self.last.arriving_at.utc - self.first.departing_at.utc


@dataclass(frozen=True, slots=True)
class Quote:
    """One way, or there and back, in the cheapest classes that have the seats asked for; its price."""

    slices: tuple[Slice, ...]
    price: Price

    @property
    def slice(self) -> Slice:
        """The way there."""
        return self.slices[0]

    @property
    def flight_ids(self) -> tuple[FlightId, ...]:
        return tuple(flight_id for slice_ in self.slices for flight_id in slice_.flight_ids)


@dataclass(frozen=True, slots=True)
class Offer:
    """What can be held now, at this price, until it expires."""

    offer_id: str
    expires_at: datetime
    passengers: PassengerCounts
    slices: tuple[Slice, ...]
    price: Price
    supersedes: str | None = None  # the offer that this one stands for, at another price


@dataclass(frozen=True, slots=True)
class CalendarDay:
    """`lowest_price` of one adult, None where nothing can be held."""

    day: date
    lowest_price: Money | None


@dataclass(frozen=True, slots=True)
class Route:
    """A pair that is flown, and its first and last departure still to come, by the origin's calendar."""

    origin: str
    destination: str
    first_departure_date: date
    last_departure_date: date


@dataclass(frozen=True, slots=True)
class FlightAvailability:
    """`counts` has every cabin of the flight, in the flight's own class order."""

    flight: Flight
    counts: Mapping[CabinName, CabinCounts]
    as_of: datetime
