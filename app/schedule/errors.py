"""Errors of the schedule."""

from collections.abc import Sequence

from app.errors import DomainError, ErrorKind, ValidationFailed
from app.ids import FlightId


class FlightInUse(DomainError):
    kind = ErrorKind.CONFLICT
    code = "flight_in_use"
    title = "Seats of this flight are held or sold"

    def __init__(self, flight_id: FlightId) -> None:
        super().__init__(
            "Times, stations, carrier and classes cannot change while seats are held or sold. "
            "Limits, fares and capacity can.",
            facts={"flight_id": flight_id},
        )


class ImportRefused(ValidationFailed):
    """Nothing of a file was loaded. `lines` has the first invalid lines, `bad_lines` counts all."""

    def __init__(self, lines: Sequence[tuple[int, str]], bad_lines: int) -> None:
        super().__init__(f"{bad_lines} invalid line(s); nothing was loaded.")
        self.lines = tuple(lines)
        self.bad_lines = bad_lines
