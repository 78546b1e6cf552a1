"""The columns of a schedule file: its header, and the conversion of a line to a flight and back.

`HEADER` and `line_of` write such files, so that the format is defined in one module.
"""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from app.errors import ValidationFailed
from app.inventory.model import BookingClass, Cabin, CabinName, FareClass, Flight
from app.money import Money
from app.schedule.model import FlightDraft, WallTime, validated

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
"""The header of the sample network. Other files may have other cabins, in any order."""

_LOCAL = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2})?")
_CAPACITY = re.compile(r"[0-9]{1,4}")
_CLASS = re.compile(r"(?P<letter>[A-Z]):(?P<limit>[0-9]{1,4}):(?P<fare>[0-9.]{1,18})")
_QUOTED_MAX = 40


class BadLine(Exception):
    """A line that is not a valid flight. `reason` is for its author; `is_final` ends the reading."""

    def __init__(self, reason: str, *, is_final: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_final = is_final


@dataclass(frozen=True, slots=True)
class Columns:
    """The order of a file's columns, and the separator between them."""

    names: tuple[str, ...]
    cabins: tuple[CabinName, ...]
    separator: str

    @classmethod
    def of_header(cls, line: str) -> "Columns":
        """Raises BadLine. The separator is a comma or a semicolon: in many locales spreadsheets write `;`."""
        separator = ";" if line.count(";") > line.count(",") else ","
        names = tuple(name.strip() for name in _cells(line, separator))
        known = {*FLIGHT_COLUMNS, *(name for group in CABIN_COLUMNS.values() for name in group)}
        for name in names:
            if name not in known:
                raise BadLine(f"unknown column {_quoted(name)}")
            if names.count(name) > 1:
                raise BadLine(f"column {name} is listed twice")
        cabins = tuple(
            cabin for cabin, group in CABIN_COLUMNS.items() if not set(group).isdisjoint(names)
        )
        needed = [*FLIGHT_COLUMNS, *(name for cabin in cabins for name in CABIN_COLUMNS[cabin])]
        for name in needed:
            if name not in names:
                raise BadLine(f"column {name} is missing")
        if not cabins:
            raise BadLine(
                "the columns of at least one cabin are missing: for economy they are "
                "economy_capacity, economy_currency and economy_classes"
            )
        return cls(names, cabins, separator)

    def flight(self, line: str) -> Flight | None:
        """The flight of a line, or None for an empty line. Raises BadLine."""
        cells = [cell.strip() for cell in _cells(line, self.separator)]
        if not any(cells):
            return None
        if len(cells) != len(self.names):
            raise BadLine(f"the line has {len(cells)} cells, but the header has {len(self.names)}")
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
            return validated(draft)
        except ValidationFailed as error:
            raise BadLine(error.violations[0].detail.rstrip(".")) from None


def line_of(values: Mapping[str, str], names: Sequence[str] = HEADER) -> str:
    """One line of a file with the header `names`. No value may need quotes."""
    return ",".join(values.get(name, "") for name in names) + "\n"


def _cells(line: str, separator: str) -> list[str]:
    """Parse one line by itself, so that an open quote is reported on its line, not at the end of the file."""
    try:
        return next(csv.reader([line.rstrip("\r\n")], delimiter=separator, strict=True), [])
    except csv.Error:
        raise BadLine("the quotes do not match; a cell must end on the line it begins on") from None


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
        raise BadLine(
            f"{name.value}_capacity {_quoted(capacity)} is not a number between 1 and 9999"
        )
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
    """A cell, safe to print on a terminal: ASCII, no control characters, at most 40 characters."""
    return ascii(value if len(value) <= _QUOTED_MAX else value[:_QUOTED_MAX] + "...")
