"""The columns of a schedule file: a header, and how one line under it reads as a flight.

`HEADER` and `line_of` are the writing side, so that what is written here is read here.
"""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from app.errors import ValidationFailed
from app.inventory.model import BookingClass, Cabin, CabinName, FareClass, Flight
from app.money import Money
from app.schedule.model import FlightDraft, WallTime, checked

FLIGHT_COLUMNS = (
    "flight_id",
    "carrier",
    "flight_number",
    "origin",
    "destination",
    "departing_local",
    "departing_time_zone",
    "arriving_local",
    "arriving_time_zone",
)
CABIN_PARTS = ("capacity", "currency", "classes")
CABIN_COLUMNS = {
    cabin: tuple(f"{cabin.value}_{part}" for part in CABIN_PARTS) for cabin in CabinName
}
HEADER = (*FLIGHT_COLUMNS, *CABIN_COLUMNS[CabinName.BUSINESS], *CABIN_COLUMNS[CabinName.ECONOMY])
"""What the sample network is written with; a file may have other cabins, in any order."""

_LOCAL = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2})?")
_CAPACITY = re.compile(r"[0-9]{1,4}")
_CLASS = re.compile(r"(?P<letter>[A-Z]):(?P<limit>[0-9]{1,4}):(?P<fare>[0-9.]{1,18})")
_QUOTED_MAX = 40


class BadLine(Exception):
    """One line that is no flight, with a reason for its author; `is_last`: no use in reading on."""

    def __init__(self, reason: str, *, is_last: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_last = is_last


@dataclass(frozen=True, slots=True)
class Columns:
    """Where a file has which column, and what stands between them."""

    names: tuple[str, ...]
    cabins: tuple[CabinName, ...]
    separator: str

    @classmethod
    def of_header(cls, line: str) -> "Columns":
        """Raises BadLine. Spreadsheets of half the world separate with semicolons: both are read."""
        separator = ";" if line.count(";") > line.count(",") else ","
        names = tuple(name.strip() for name in _cells(line, separator))
        known = {*FLIGHT_COLUMNS, *(name for group in CABIN_COLUMNS.values() for name in group)}
        for name in names:
            if name not in known:
                raise BadLine(f"unknown column {_quoted(name)}")
            if names.count(name) > 1:
                raise BadLine(f"column {name} stands twice")
        cabins = tuple(
            cabin for cabin, group in CABIN_COLUMNS.items() if not set(group).isdisjoint(names)
        )
        needed = [*FLIGHT_COLUMNS, *(name for cabin in cabins for name in CABIN_COLUMNS[cabin])]
        for name in needed:
            if name not in names:
                raise BadLine(f"column {name} is missing")
        if not cabins:
            raise BadLine("no cabin's columns; economy takes economy_capacity, _currency, _classes")
        return cls(names, cabins, separator)

    def flight(self, line: str) -> Flight | None:
        """The flight of a line, None for an empty line. Raises BadLine."""
        cells = [cell.strip() for cell in _cells(line, self.separator)]
        if not any(cells):
            return None
        if len(cells) != len(self.names):
            raise BadLine(f"{len(cells)} cells, and the header has {len(self.names)}")
        row = dict(zip(self.names, cells, strict=True))
        draft = FlightDraft(
            row["flight_id"],
            row["carrier"],
            row["flight_number"],
            row["origin"],
            row["destination"],
            WallTime(_local(row, "departing_local"), row["departing_time_zone"]),
            WallTime(_local(row, "arriving_local"), row["arriving_time_zone"]),
            tuple(cabin for name in self.cabins if (cabin := _cabin(row, name)) is not None),
        )
        try:
            return checked(draft)
        except ValidationFailed as error:
            raise BadLine(error.violations[0].detail.rstrip(".")) from None


def line_of(values: Mapping[str, str], names: Sequence[str] = HEADER) -> str:
    """One line of a file with the header `names`; the values need no quotes."""
    return ",".join(values.get(name, "") for name in names) + "\n"


def _cells(line: str, separator: str) -> list[str]:
    """Each line stands alone: a quote left open is told where it is, not at the end of the file."""
    try:
        return next(csv.reader([line.rstrip("\r\n")], delimiter=separator, strict=True), [])
    except csv.Error:
        raise BadLine("the quotes do not match; a cell ends on the line it starts on") from None


def _local(row: Mapping[str, str], column: str) -> datetime:
    value = row[column]
    try:
        if _LOCAL.fullmatch(value):
            return datetime.fromisoformat(value)
    except ValueError:
        pass
    raise BadLine(f"{column} {_quoted(value)} is not a local time such as 2026-12-10 08:30")


def _cabin(row: Mapping[str, str], name: CabinName) -> Cabin | None:
    capacity, currency, classes = (row[column] for column in CABIN_COLUMNS[name])
    if not (capacity or currency or classes):
        return None
    if not _CAPACITY.fullmatch(capacity):
        raise BadLine(f"{name.value}_capacity {_quoted(capacity)} is not a number from 1 to 9999")
    fare_classes = tuple(_class(name, entry, currency) for entry in classes.split())
    return Cabin(name, int(capacity), fare_classes)


def _class(name: CabinName, entry: str, currency: str) -> FareClass:
    match = _CLASS.fullmatch(entry)
    if match is None:
        raise BadLine(
            f"{name.value}_classes: {_quoted(entry)} is not CLASS:LIMIT:FARE such as Y:150:129900"
        )
    try:
        fare = Money.parse(match["fare"], currency)
    except ValueError as error:
        raise BadLine(f"{name.value}_classes: {_quoted(entry)}: {error}") from None
    return FareClass(BookingClass(match["letter"]), int(match["limit"]), fare)


def _quoted(value: str) -> str:
    """A cell as it may be shown on a terminal: ASCII, no control characters, not too long."""
    return ascii(value if len(value) <= _QUOTED_MAX else value[:_QUOTED_MAX] + "...")
