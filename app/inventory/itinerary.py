"""An itinerary: priced segments for counted passengers. Pure values.

`to_json` and `from_json` are their only JSON form in storage. A hold and a booking store the terms they
were made on, so that later changes of the flight's row do not affect them.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, Literal

from app.ids import FlightId
from app.inventory.model import BookingClass, Cabin, CabinName, Flight, LocalTime
from app.money import Money

PassengerType = Literal["ADT", "CHD", "INF"]
SEATS_MAX = 9  # adults and children of one request
SEGMENTS_MAX = 6
CACHED_MAX: Final = (
    8192  # measured: a price has 0.5 KiB, a segment 0.8 KiB; 11 MiB when both are full
)


@dataclass(frozen=True, slots=True)
class PassengerCounts:
    """An infant travels on an adult's lap: no seat, one adult each."""

    adults: int
    children: int = 0
    infants: int = 0

    @property
    def seats(self) -> int:
        return self.adults + self.children

    def to_json(self) -> dict[str, int]:
        return {"ADT": self.adults, "CHD": self.children, "INF": self.infants}

    @classmethod
    def from_json(cls, data: Mapping[str, int]) -> "PassengerCounts":
        return cls(data["ADT"], data["CHD"], data["INF"])


@dataclass(frozen=True, slots=True)
class Segment:
    flight_id: FlightId
    carrier: str
    flight_number: str
    origin: str
    destination: str
    departing_at: LocalTime
    arriving_at: LocalTime
    cabin: CabinName
    booking_class: BookingClass
    fare: Money  # of one adult

    def __hash__(self) -> int:
        """Hash three fields instead of ten: a search looks up thousands of segments."""
        return hash((self.flight_id, self.booking_class, self.fare.minor))

    @classmethod
    def of(cls, flight: Flight, cabin: Cabin, position: int) -> "Segment":
        fare_class = cabin.booking_classes[position - 1]
        return cls(
            flight.flight_id,
            flight.carrier,
            flight.flight_number,
            flight.origin,
            flight.destination,
            flight.departing_at,
            flight.arriving_at,
            cabin.cabin,
            fare_class.booking_class,
            fare_class.fare,
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "flight_id": self.flight_id,
            "carrier": self.carrier,
            "flight_number": self.flight_number,
            "origin": self.origin,
            "destination": self.destination,
            "departing_at": _time_to_json(self.departing_at),
            "arriving_at": _time_to_json(self.arriving_at),
            "cabin": self.cabin.value,
            "booking_class": self.booking_class,
            "fare": [self.fare.minor, self.fare.currency],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Segment":
        minor, currency = data["fare"]
        return cls(
            FlightId(data["flight_id"]),
            data["carrier"],
            data["flight_number"],
            data["origin"],
            data["destination"],
            _time_from_json(data["departing_at"]),
            _time_from_json(data["arriving_at"]),
            CabinName(data["cabin"]),
            BookingClass(data["booking_class"]),
            Money(minor, currency),
        )


@dataclass(frozen=True, slots=True)
class PassengerPrice:
    type: PassengerType
    count: int
    each: Money


@dataclass(frozen=True, slots=True)
class Price:
    """`passengers` has one line for each passenger type in the itinerary."""

    total: Money
    passengers: tuple[PassengerPrice, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "total": [self.total.minor, self.total.currency],
            "passengers": [[line.type, line.count, line.each.minor] for line in self.passengers],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Price":
        minor, currency = data["total"]
        lines = (
            PassengerPrice(type_, count, Money(each, currency))
            for type_, count, each in data["passengers"]
        )
        return cls(Money(minor, currency), tuple(lines))


def price(segments: Sequence[Segment], passengers: PassengerCounts) -> Price:
    """The price of an itinerary in one currency: a child pays the adult's fare, an infant nothing."""
    currency = segments[0].fare.currency
    assert all(one.fare.currency == currency for one in segments), "a sum has one currency"
    return _price(sum(one.fare.minor for one in segments), currency, passengers)


@lru_cache(maxsize=CACHED_MAX)
def _price(fare: int, currency: str, passengers: PassengerCounts) -> Price:
    adult, nothing = Money(fare, currency), Money(0, currency)
    lines = (
        PassengerPrice("ADT", passengers.adults, adult),
        PassengerPrice("CHD", passengers.children, adult),
        PassengerPrice("INF", passengers.infants, nothing),
    )
    total = sum((line.each * line.count for line in lines), start=nothing)
    return Price(total, tuple(line for line in lines if line.count))


def schedule_digest(segments: Sequence[Segment]) -> int:
    """A digest of stations and times. It differs if the schedule of a segment has changed."""
    return zlib.crc32("\n".join(map(_stations_and_times, segments)).encode())


@lru_cache(maxsize=CACHED_MAX)
def _stations_and_times(segment: Segment) -> str:
    times = (*_time_to_json(segment.departing_at), *_time_to_json(segment.arriving_at))
    return " ".join((segment.origin, segment.destination, *times))


def _time_to_json(time: LocalTime) -> list[str]:
    return [time.local.isoformat(), time.time_zone, time.utc.isoformat()]


def _time_from_json(data: Sequence[str]) -> LocalTime:
    local, time_zone, utc = data
    return LocalTime(datetime.fromisoformat(local), time_zone, datetime.fromisoformat(utc))
