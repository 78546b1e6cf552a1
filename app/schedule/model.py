"""What makes a flight a valid one; pure rules, no I/O.

A caller states a flight with wall-clock times; `checked` resolves them and gives the flight, or names
everything that is wrong with it at once, each with a pointer into the contract's shape of a flight.
Details quote no more of the input than class letters and cabin names.
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from app.errors import ValidationFailed, Violation
from app.ids import FlightId, is_flight_id
from app.inventory.model import Cabin, CabinName, FareClass, Flight, LocalTime

CAPACITY_MAX = 9999
LIMIT_MAX = 9999
CLASSES_MAX = 26
CARRIER_PATTERN = r"^[A-Z0-9]{2}$"
FLIGHT_NUMBER_PATTERN = r"^[0-9]{1,4}[A-Z]?$"
STATION_PATTERN = r"^[A-Z]{3}$"
BOOKING_CLASS_PATTERN = r"^[A-Z]$"
YEARS = range(2000, 2100)

_CARRIER = re.compile(CARRIER_PATTERN)
_FLIGHT_NUMBER = re.compile(FLIGHT_NUMBER_PATTERN)
_STATION = re.compile(STATION_PATTERN)
_BOOKING_CLASS = re.compile(BOOKING_CLASS_PATTERN)
# Names that the machine's own time zone folder may carry and that mean no place.
_NO_PLACES = frozenset({"localtime", "Factory", "posixrules"})


@dataclass(frozen=True, slots=True)
class WallTime:
    """A time as a station's clock shows it, not yet known to exist."""

    local: datetime  # naive
    time_zone: str


@dataclass(frozen=True, slots=True)
class FlightDraft:
    """A flight as somebody states it, not yet known to be valid."""

    flight_id: str
    carrier: str
    flight_number: str
    origin: str
    destination: str
    departing_at: WallTime
    arriving_at: WallTime
    cabins: tuple[Cabin, ...]


def checked(draft: FlightDraft) -> Flight:
    """The flight, at version 1. Raises ValidationFailed with everything that is wrong."""
    violations = [*_of_names(draft), *_of_cabins(draft.cabins)]
    departing_at = _resolved(draft.departing_at, "/departing_at", violations)
    arriving_at = _resolved(draft.arriving_at, "/arriving_at", violations)
    if departing_at and arriving_at and arriving_at.utc <= departing_at.utc:
        violations.append(_wrong("/arriving_at", "arrival has to be after departure (in UTC)"))
    if violations:
        raise ValidationFailed("This is not a flight; see errors.", violations=violations)
    assert departing_at is not None
    assert arriving_at is not None
    return Flight(
        FlightId(draft.flight_id),
        draft.carrier,
        draft.flight_number,
        draft.origin,
        draft.destination,
        departing_at,
        arriving_at,
        draft.cabins,
    )


def resolve_local(local: datetime, time_zone: str) -> LocalTime:
    """The instant of a wall-clock time; of an ambiguous one the first.

    Raises ValueError, in a sentence for the reader, where the zone is unknown or its clocks skip the
    time.
    """
    assert local.tzinfo is None, "a wall-clock time has no offset"
    if time_zone not in _known_time_zones():
        raise ValueError("time_zone has to be an IANA name such as America/Santiago")
    if local.year not in YEARS:
        raise ValueError(f"the year has to be from {YEARS.start} to {YEARS.stop - 1}")
    if local.microsecond:
        raise ValueError("times are given in whole seconds")
    zone = _zone(time_zone)
    local = local.replace(fold=0)
    utc = local.replace(tzinfo=zone).astimezone(UTC)
    if utc.astimezone(zone).replace(tzinfo=None) != local:
        raise ValueError("this local time does not exist: the clocks skip it that day")
    return LocalTime(local, time_zone, utc)


def same_terms(one: Flight, other: Flight) -> bool:
    """Whether nothing but the version tells them apart."""
    return _shape(one) == _shape(other) and one.cabins == other.cabins


def same_shape(one: Flight, other: Flight) -> bool:
    """Whether they differ at most in capacities, limits and fares, which change under load."""
    return _shape(one) == _shape(other) and _letters(one) == _letters(other)


def fare_order(classes: Sequence[FareClass], pointer: str) -> Iterator[Violation]:
    """What is wrong with a cabin's fares: one currency, from the highest down."""
    for index, (above, fare_class) in enumerate(itertools.pairwise(classes), start=1):
        at = f"{pointer}/booking_classes/{index}/fare"
        if fare_class.fare.currency != classes[0].fare.currency:
            yield _wrong(
                at,
                f"class {fare_class.booking_class}: a cabin's fares are all in one currency, "
                f"here {classes[0].fare.currency}",
            )
        elif fare_class.fare.minor > above.fare.minor:
            yield _wrong(
                at,
                f"class {fare_class.booking_class} costs more than {above.booking_class} above it; "
                "classes go from the highest fare down",
            )


def _of_names(draft: FlightDraft) -> Iterator[Violation]:
    if not is_flight_id(draft.flight_id):
        yield _wrong("/id", "the id has to be flt_ and 1 to 60 letters, digits, _ or -")
    if not _CARRIER.fullmatch(draft.carrier):
        yield _wrong("/carrier", "carrier takes two capital letters or digits")
    if not _FLIGHT_NUMBER.fullmatch(draft.flight_number):
        yield _wrong("/flight_number", "flight_number takes 1 to 4 digits and at most one letter")
    if not _STATION.fullmatch(draft.origin):
        yield _wrong("/origin", "origin takes three capital letters")
    if not _STATION.fullmatch(draft.destination):
        yield _wrong("/destination", "destination takes three capital letters")
    elif draft.origin == draft.destination:
        yield _wrong("/destination", "destination has to differ from origin")


def _of_cabins(cabins: Sequence[Cabin]) -> Iterator[Violation]:
    if not cabins:
        yield _wrong("/cabins", "a flight has at least one cabin")
    names: set[CabinName] = set()
    letters: set[str] = set()
    for index, cabin in enumerate(cabins):
        at = f"/cabins/{index}"
        if cabin.cabin in names:
            yield _wrong(f"{at}/cabin", f"{cabin.cabin.value} stands twice in the flight")
        names.add(cabin.cabin)
        if not 1 <= cabin.capacity <= CAPACITY_MAX:
            yield _wrong(
                f"{at}/capacity",
                f"{cabin.cabin.value}: capacity has to be from 1 to {CAPACITY_MAX}",
            )
        if not cabin.booking_classes:
            yield _wrong(
                f"{at}/booking_classes", f"{cabin.cabin.value} needs at least one booking class"
            )
        for place, fare_class in enumerate(cabin.booking_classes):
            yield from _of_class(fare_class, letters, f"{at}/booking_classes/{place}")
        yield from fare_order(cabin.booking_classes, at)


def _of_class(fare_class: FareClass, letters: set[str], at: str) -> Iterator[Violation]:
    letter = fare_class.booking_class
    if not _BOOKING_CLASS.fullmatch(letter):
        yield _wrong(f"{at}/booking_class", "a booking class is one capital letter")
    elif letter in letters:  # so there are never more than the alphabet has
        yield _wrong(f"{at}/booking_class", f"class {letter} stands twice in the flight")
    letters.add(letter)
    if not 0 <= fare_class.limit <= LIMIT_MAX:
        yield _wrong(f"{at}/limit", f"class {letter[:1]}: limit has to be from 0 to {LIMIT_MAX}")


def _resolved(time: WallTime, at: str, violations: list[Violation]) -> LocalTime | None:
    try:
        return resolve_local(time.local, time.time_zone)
    except ValueError as error:
        place = "time_zone" if time.time_zone not in _known_time_zones() else "local"
        which = "departure" if at == "/departing_at" else "arrival"
        violations.append(_wrong(f"{at}/{place}", f"{which}: {error}"))
        return None


def _wrong(at: str, detail: str) -> Violation:
    return Violation("pointer", at, "invalid", detail[0].upper() + detail[1:] + ".")


def _shape(flight: Flight) -> tuple[object, ...]:
    return (
        flight.flight_id,
        flight.carrier,
        flight.flight_number,
        flight.origin,
        flight.destination,
        flight.departing_at,
        flight.arriving_at,
    )


def _letters(flight: Flight) -> list[tuple[CabinName, list[str]]]:
    return [
        (cabin.cabin, [fare_class.booking_class for fare_class in cabin.booking_classes])
        for cabin in flight.cabins
    ]


@cache
def _known_time_zones() -> frozenset[str]:
    return frozenset(available_timezones() - _NO_PLACES)


@cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
