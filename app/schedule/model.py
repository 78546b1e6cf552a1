"""The rules of a valid flight. Pure: no I/O.

A draft has wall-clock times. `validated` resolves them and returns the flight, or raises all violations
at once, each with a pointer into the request body. A detail quotes nothing of the input but class letters
and cabin names.
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
# Files in the time zone folder of some systems that are not time zones.
_NOT_TIME_ZONES = frozenset({"localtime", "Factory", "posixrules"})


@dataclass(frozen=True, slots=True)
class WallTime:
    """A time as a station's clock shows it. It may not exist."""

    local: datetime  # naive
    time_zone: str


@dataclass(frozen=True, slots=True)
class FlightDraft:
    """A flight that is not validated yet."""

    flight_id: str
    carrier: str
    flight_number: str
    origin: str
    destination: str
    departing_at: WallTime
    arriving_at: WallTime
    cabins: tuple[Cabin, ...]


def validated(draft: FlightDraft) -> Flight:
    """The flight, at version 1. Raises ValidationFailed with all violations."""
    violations = [*_name_violations(draft), *_cabin_violations(draft.cabins)]
    departing_at = _resolve(draft.departing_at, "/departing_at", violations)
    arriving_at = _resolve(draft.arriving_at, "/arriving_at", violations)
    if departing_at and arriving_at and arriving_at.utc <= departing_at.utc:
        violations.append(_violation("/arriving_at", "arrival must be after departure (in UTC)"))
    if violations:
        raise ValidationFailed("The flight is not valid; see `errors`.", violations=violations)
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
    """The instant of a wall-clock time; the earlier one if the clocks show it twice.

    Raises ValueError, with a message for the client, if the zone is unknown or its clocks skip the time.
    """
    assert local.tzinfo is None, "a wall-clock time has no offset"
    if time_zone not in _known_time_zones():
        raise ValueError("time_zone must be an IANA name such as America/Santiago")
    if local.year not in YEARS:
        raise ValueError(f"the year must be between {YEARS.start} and {YEARS.stop - 1}")
    if local.microsecond:
        raise ValueError("times must be whole seconds")
    zone = _zone(time_zone)
    local = local.replace(fold=0)
    utc = local.replace(tzinfo=zone).astimezone(UTC)
    if utc.astimezone(zone).replace(tzinfo=None) != local:
        raise ValueError("this local time does not exist, since the clocks skip it on that day")
    return LocalTime(local, time_zone, utc)


def same_terms(one: Flight, other: Flight) -> bool:
    """Whether they differ at most in their version."""
    return _shape(one) == _shape(other) and one.cabins == other.cabins


def same_shape(one: Flight, other: Flight) -> bool:
    """Whether they differ at most in capacities, limits and fares, which may change during sale."""
    return _shape(one) == _shape(other) and _class_letters(one) == _class_letters(other)


def fare_violations(classes: Sequence[FareClass], pointer: str) -> Iterator[Violation]:
    """Violations of the rule that a cabin's fares have one currency and are ordered from the highest down."""
    for index, (above, fare_class) in enumerate(itertools.pairwise(classes), start=1):
        at = f"{pointer}/booking_classes/{index}/fare"
        if fare_class.fare.currency != classes[0].fare.currency:
            yield _violation(
                at,
                f"class {fare_class.booking_class}: all fares of a cabin must have one currency, "
                f"here {classes[0].fare.currency}",
            )
        elif fare_class.fare.minor > above.fare.minor:
            yield _violation(
                at,
                f"class {fare_class.booking_class} must not cost more than class "
                f"{above.booking_class}: classes are ordered from the highest fare down",
            )


def _name_violations(draft: FlightDraft) -> Iterator[Violation]:
    if not is_flight_id(draft.flight_id):
        yield _violation("/id", "the id must be flt_ followed by 1 to 60 letters, digits, _ or -")
    if not _CARRIER.fullmatch(draft.carrier):
        yield _violation("/carrier", "carrier must be two capital letters or digits")
    if not _FLIGHT_NUMBER.fullmatch(draft.flight_number):
        yield _violation(
            "/flight_number",
            "flight_number must be 1 to 4 digits, optionally followed by a capital letter",
        )
    if not _STATION.fullmatch(draft.origin):
        yield _violation("/origin", "origin must be three capital letters")
    if not _STATION.fullmatch(draft.destination):
        yield _violation("/destination", "destination must be three capital letters")
    elif draft.origin == draft.destination:
        yield _violation("/destination", "destination must differ from origin")


def _cabin_violations(cabins: Sequence[Cabin]) -> Iterator[Violation]:
    if not cabins:
        yield _violation("/cabins", "a flight must have at least one cabin")
    names: set[CabinName] = set()
    letters: set[str] = set()
    for index, cabin in enumerate(cabins):
        at = f"/cabins/{index}"
        if cabin.cabin in names:
            yield _violation(f"{at}/cabin", f"cabin {cabin.cabin.value} must not be listed twice")
        names.add(cabin.cabin)
        if not 1 <= cabin.capacity <= CAPACITY_MAX:
            yield _violation(
                f"{at}/capacity",
                f"{cabin.cabin.value}: capacity must be between 1 and {CAPACITY_MAX}",
            )
        if not cabin.booking_classes:
            yield _violation(
                f"{at}/booking_classes", f"{cabin.cabin.value} must have at least one booking class"
            )
        for place, fare_class in enumerate(cabin.booking_classes):
            yield from _class_violations(fare_class, letters, f"{at}/booking_classes/{place}")
        yield from fare_violations(cabin.booking_classes, at)


def _class_violations(fare_class: FareClass, letters: set[str], at: str) -> Iterator[Violation]:
    letter = fare_class.booking_class
    if not _BOOKING_CLASS.fullmatch(letter):
        yield _violation(f"{at}/booking_class", "a booking class must be one capital letter")
    elif letter in letters:  # which limits them to the letters of the alphabet
        yield _violation(f"{at}/booking_class", f"class {letter} must not be listed twice")
    letters.add(letter)
    if not 0 <= fare_class.limit <= LIMIT_MAX:
        yield _violation(
            f"{at}/limit", f"class {letter[:1]}: limit must be between 0 and {LIMIT_MAX}"
        )


def _resolve(time: WallTime, at: str, violations: list[Violation]) -> LocalTime | None:
    try:
        return resolve_local(time.local, time.time_zone)
    except ValueError as error:
        place = "time_zone" if time.time_zone not in _known_time_zones() else "local"
        which = "departure" if at == "/departing_at" else "arrival"
        violations.append(_violation(f"{at}/{place}", f"{which}: {error}"))
        return None


def _violation(at: str, detail: str) -> Violation:
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


def _class_letters(flight: Flight) -> list[tuple[CabinName, list[str]]]:
    return [
        (cabin.cabin, [fare_class.booking_class for fare_class in cabin.booking_classes])
        for cabin in flight.cabins
    ]


@cache  # one value
def _known_time_zones() -> frozenset[str]:
    return frozenset(available_timezones() - _NOT_TIME_ZONES)


@cache  # bounded by the names of time zones, about 600
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
