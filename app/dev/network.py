"""The sample network: an invented timetable over real airports of South America.

Deterministic: the same day always gives the same flights. It is written as lines of a schedule file, so that it
reaches the database like any imported file. Carrier codes and flight numbers look real and are invented.
"""

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import airportsdata

from app.ids import FlightId
from app.money import Money, decimals
from app.schedule.columns import line_of

# Carrier, its first flight number there, a station, and its destinations with the flights per day.
# Each flight also returns: outbound with odd numbers, back with even ones.
_TIMETABLE = """
LA 801 SCL GRU:3 LIM:3 EZE:3 BOG:2 GIG:1 MVD:1 MDZ:2 COR:1 ASU:1 VVI:1 CUZ:1
LA 101 SCL ANF:4 CJC:3 IQQ:3 ARI:2 LSC:2 CCP:4 ZCO:2 PMC:3 PUQ:2
G3 7601 GRU EZE:3 MVD:2 ASU:1 VVI:1 COR:1
LA 3001 GRU GIG:4 BSB:4 CNF:3 POA:3 CWB:3 FLN:3 SSA:3 REC:3 FOR:2 NAT:1 BEL:1 MAO:1
AD 4001 BSB CNF:1 SSA:1 REC:1 FOR:1 MAO:1
LA 2401 LIM GRU:2 EZE:2 BOG:3 UIO:2 GYE:2 LPB:2 VVI:1 CCS:1 MVD:1
LA 2001 LIM CUZ:5 AQP:4 PIU:3 TRU:2 IQT:2 TPP:2 JUL:2 CJA:1
AV 85 BOG GRU:2 EZE:2 UIO:3 GYE:2 CCS:1 CUZ:1 LPB:1
AV 8401 BOG MDE:5 CLO:4 CTG:4 BAQ:3 SMR:2 PEI:2 BGA:2 ADZ:1
AR 1221 EZE GIG:1 ASU:1 FLN:1 VVI:1
AR 1501 EZE COR:2 MDZ:2 BRC:1 IGR:1 SLA:1
AR 1601 AEP COR:3 MDZ:3 BRC:3 IGR:2 SLA:2 TUC:2 NQN:2 FTE:2 USH:2 MVD:2
"""
CONNECTION_MINUTES = {  # minimum time to change flights; elsewhere the default applies
    "AEP": 45,
    "BOG": 75,
    "BSB": 45,
    "EZE": 75,
    "GRU": 90,
    "LIM": 75,
    "SCL": 70,
}
_ECONOMY = (  # class, share of the cabin that it and the classes below may sell, multiple of the lowest fare
    ("Y", 1.0, 3.6),
    ("B", 0.92, 3.0),
    ("M", 0.8, 2.5),
    ("H", 0.68, 2.1),
    ("K", 0.54, 1.75),
    ("L", 0.4, 1.45),
    ("Q", 0.25, 1.2),
    ("N", 0.12, 1.0),
)
_BUSINESS = (
    ("J", 1.0, 9.0),
    ("C", 0.9, 7.6),
    ("D", 0.75, 6.4),
    ("I", 0.6, 5.4),
    ("Z", 0.4, 4.6),
    ("P", 0.2, 4.0),
)
_DOMESTIC = {  # country: currency, its rate to the dollar, fares are multiples of
    "CL": ("CLP", 940.0, 100),
    "BR": ("BRL", 5.4, 1),
    "PE": ("PEN", 3.7, 1),
    "CO": ("COP", 4100.0, 1000),
    "AR": ("ARS", 1400.0, 500),
}
_ABROAD = ("USD", 1.0, 1)
_BY_WEEKDAY = (1.0, 0.94, 0.96, 1.05, 1.18, 1.0, 1.15)
_HIGH_SEASON_MONTHS = (1, 2, 7, 12)
_LONG_HAUL_KM = 2500
_KM_PER_MINUTE = 13
_TAXI_MINUTES = 30
_TURNAROUND_MINUTES = 50
_FIRST_MINUTE = 6 * 60
_LAST_MINUTE = 22 * 60  # no departure near midnight, when clocks change
_MINUTES_BETWEEN_BANKS = 10


@dataclass(frozen=True, slots=True)
class Airport:
    code: str
    country: str
    latitude: float
    longitude: float
    time_zone: str


@dataclass(frozen=True, slots=True)
class Service:
    """One flight number, every day."""

    carrier: str
    flight_number: int
    origin: Airport
    destination: Airport
    departs_at: timedelta  # after midnight, by the origin's clock
    lasts: timedelta

    def flight_id(self, day: date) -> FlightId:
        return FlightId(
            f"flt_{self.carrier}{self.flight_number}-{day:%Y%m%d}"
            f"-{self.origin.code}-{self.destination.code}"
        )

    def line(self, day: date) -> str:
        """The flight of one day of the origin's calendar, as a line of a schedule file."""
        departing = datetime(day.year, day.month, day.day, tzinfo=_zone(self.origin.time_zone))
        departing += self.departs_at
        arriving = departing.astimezone(UTC) + self.lasts
        km = kilometres(self.origin, self.destination)
        business, economy = (30, 217) if km >= _LONG_HAUL_KM else (12, 156)
        season = 1.2 if day.month in _HIGH_SEASON_MONTHS else 1.0
        factor = _BY_WEEKDAY[day.weekday()] * season
        currency, rate, step = self._currency()
        lowest = _lowest_dollars(km, is_domestic=currency != "USD") * factor * rate
        return line_of(
            {
                "flight_id": self.flight_id(day),
                "carrier": self.carrier,
                "flight_number": str(self.flight_number),
                "origin": self.origin.code,
                "destination": self.destination.code,
                "departing_local": f"{departing:%Y-%m-%d %H:%M}",
                "departing_time_zone": self.origin.time_zone,
                "arriving_local": f"{arriving.astimezone(_zone(self.destination.time_zone)):%Y-%m-%d %H:%M}",
                "arriving_time_zone": self.destination.time_zone,
                "business_capacity": str(business),
                "business_currency": currency,
                "business_classes": _classes(_BUSINESS, business, lowest, currency, step),
                "economy_capacity": str(economy),
                "economy_currency": currency,
                "economy_classes": _classes(_ECONOMY, economy, lowest, currency, step),
            }
        )

    def _currency(self) -> tuple[str, float, int]:
        if self.origin.country != self.destination.country:
            return _ABROAD
        return _DOMESTIC[self.origin.country]


@cache  # one value
def services() -> tuple[Service, ...]:
    return tuple(_services())


@cache  # one value
def airports() -> dict[str, Airport]:
    """The airports of the timetable."""
    known = airportsdata.load("IATA")
    codes = {word.partition(":")[0] for line in _TIMETABLE.split("\n") for word in line.split()[2:]}
    return {
        code: Airport(
            code,
            known[code]["country"],
            known[code]["lat"],
            known[code]["lon"],
            known[code]["tz"],
        )
        for code in sorted(codes)
    }


@cache  # one entry for each market of the timetable, about 200
def kilometres(one: Airport, other: Airport) -> float:
    """The distance along the great circle."""
    a, b = math.radians(one.latitude), math.radians(other.latitude)
    across = math.radians(other.longitude - one.longitude)
    cosine = math.sin(a) * math.sin(b) + math.cos(a) * math.cos(b) * math.cos(across)
    return 6371 * math.acos(min(1.0, cosine))


def _services() -> Iterator[Service]:
    for row in _TIMETABLE.strip().split("\n"):
        carrier, first_number, station, *routes = row.split()
        number = int(first_number)
        for route in routes:
            code, _, times = route.partition(":")
            home, away = airports()[station], airports()[code]
            lasts = timedelta(minutes=_block_minutes(kilometres(home, away)))
            for minute in _departures(f"{carrier}{station}{code}", int(times)):
                out = timedelta(minutes=minute)
                back = _next_slot(out + lasts + timedelta(minutes=_TURNAROUND_MINUTES))
                yield Service(carrier, number, home, away, out, lasts)
                yield Service(carrier, number + 1, away, home, back, lasts)
                number += 2


def _departures(route: str, times: int) -> Iterator[int]:
    """Minutes after midnight, spread over the day, each route a little apart from the others."""
    apart = (_LAST_MINUTE - _FIRST_MINUTE) // times
    shift = zlib.crc32(route.encode()) % (apart // _MINUTES_BETWEEN_BANKS) * _MINUTES_BETWEEN_BANKS
    for number in range(times):
        yield _FIRST_MINUTE + number * apart + shift


def _next_slot(time: timedelta) -> timedelta:
    """No flight departs at night: the aircraft waits for the morning."""
    minute = int(time.total_seconds()) // 60 % 1440
    if not _FIRST_MINUTE <= minute <= _LAST_MINUTE:
        minute = _FIRST_MINUTE + minute % 60
    return timedelta(minutes=minute)


def _block_minutes(km: float) -> int:
    return _TAXI_MINUTES + 5 * math.ceil(km / _KM_PER_MINUTE / 5)


def _lowest_dollars(km: float, *, is_domestic: bool) -> float:
    return 22 + 0.045 * km if is_domestic else 55 + 0.07 * km


@cache  # one entry for each market, weekday and season: a few thousand
def _classes(
    ladder: tuple[tuple[str, float, float], ...],
    capacity: int,
    lowest: float,
    currency: str,
    step: int,
) -> str:
    minor = step * 10 ** decimals(currency)
    return " ".join(
        f"{letter}:{max(1, round(capacity * share))}:"
        + Money(max(1, round(lowest * multiple / step)) * minor, currency).amount
        for letter, share, multiple in ladder
    )


@cache  # one entry for each time zone of the timetable
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
