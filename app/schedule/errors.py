"""Refusals that only a schedule knows."""

from collections.abc import Sequence

from app.errors import DomainError, ErrorKind, ValidationFailed
from app.ids import FlightId


class FlightInUse(DomainError):
    kind = ErrorKind.CONFLICT
    code = "flight_in_use"
    title = "Seats of this flight are taken"

    def __init__(self, flight_id: FlightId) -> None:
        super().__init__(
            "Times, stations, carrier and classes stay as they are while seats are held or sold; "
            "limits, fares and capacity can still be changed.",
            facts={"flight_id": flight_id},
        )


class ImportRefused(ValidationFailed):
    """A file was not loaded, not even in part. `lines` holds the first bad ones, `bad_lines` counts all."""

    def __init__(self, lines: Sequence[tuple[int, str]], bad_lines: int) -> None:
        super().__init__(f"{bad_lines} bad line(s); nothing was loaded.")
        self.lines = tuple(lines)
        self.bad_lines = bad_lines
