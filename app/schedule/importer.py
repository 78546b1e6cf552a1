"""Imports schedules from CSV files, one flight for each line: the whole file or nothing.

docs/import.md describes the columns. Each line is validated by itself, so that a reason can name the line
number that an editor shows. An import only adds flights: a flight that exists with the same terms is
unchanged, and one that exists with other terms is an invalid line. The file is read in chunks; only the
flights' ids stay in memory.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from app.ids import FlightId
from app.inventory.model import Flight, InventoryRow
from app.inventory.store import read_flights, read_rows
from app.schedule.columns import BadLine, Columns
from app.schedule.errors import ImportRefused
from app.schedule.model import same_terms
from app.schedule.store import insert
from app.storage.database import Database, WriteSession

FILE_BYTES_MAX = 200_000_000
LINES_MAX = 1_000_000
LINE_CHARACTERS_MAX = 16_384
BAD_LINES_SHOWN = 20
CHUNK_LINES = 500
APPLY_FLIGHTS = 200  # read at once; with two cabins each their rows fit one call
APPLY_ROWS_MAX = 500

Apply = Callable[[Sequence[InventoryRow]], Awaitable[None]]
Progress = Callable[[int, int], None]
"""Called with the amount done and the total amount, in a unit of the caller's choice."""


@dataclass(frozen=True, slots=True)
class ImportReport:
    added: int
    unchanged: int


async def import_file(
    database: Database, path: Path, apply: Apply, progress: Progress
) -> ImportReport:
    """Load a file in one transaction, then pass its inventory rows to `apply`. Raises ImportRefused.

    `progress` counts bytes.
    """
    size = (await asyncio.to_thread(path.stat)).st_size
    if size > FILE_BYTES_MAX:
        raise ImportRefused([(1, f"the file is larger than {FILE_BYTES_MAX:,} bytes; split it")], 1)

    def lines() -> Iterator[str]:
        # Every column allows ASCII only, so the rule of the cell reports a byte that is not UTF-8.
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            while line := file.readline(LINE_CHARACTERS_MAX + 1):
                yield line

    return await import_lines(database, lines, size, apply, progress)


async def import_lines(
    database: Database,
    lines: Callable[[], Iterable[str]],
    characters: int,
    apply: Apply,
    progress: Progress,
) -> ImportReport:
    """Like `import_file`, for lines that can be read again: the transaction may have to be repeated."""

    async def work(session: WriteSession) -> "_Loading":
        loading = _Loading(session)
        for chunk in _chunks(lines()):
            await loading.load(chunk)
            progress(min(loading.characters, characters), characters)
        loading.raise_if_invalid()
        return loading

    loaded = await database.run_in_transaction(work)
    for start in range(0, len(loaded.flight_ids), APPLY_FLIGHTS):
        async with database.reading() as session:
            rows = await read_rows(session, loaded.flight_ids[start : start + APPLY_FLIGHTS])
        for first in range(0, len(rows), APPLY_ROWS_MAX):
            await apply(rows[first : first + APPLY_ROWS_MAX])
    progress(characters, characters)
    return ImportReport(loaded.added, len(loaded.flight_ids) - loaded.added)


@dataclass(slots=True)
class _Loading:
    """One pass over a file. After the first invalid line it only looks for more invalid lines."""

    session: WriteSession
    columns: Columns | None = None
    characters: int = 0
    added: int = 0
    flight_ids: list[FlightId] = field(default_factory=list)
    invalid: list[tuple[int, str]] = field(default_factory=list)
    invalid_count: int = 0
    _first_line: dict[FlightId, int] = field(default_factory=dict)

    async def load(self, chunk: Sequence[tuple[int, str]]) -> None:
        flights: dict[int, Flight] = {}
        for number, line in chunk:
            self.characters += len(line)
            try:
                flight = self._read(number, line)
            except BadLine as error:
                self._reject(number, error.reason)
                if self.columns is None or error.is_final:
                    self.raise_if_invalid()
            else:
                if flight is not None:
                    flights[number] = flight
        if flights:
            await self._store(flights)

    def raise_if_invalid(self) -> None:
        if self.columns is None and not self.invalid:
            self._reject(1, "the file is empty; its first line must name the columns")
        if self.invalid:
            raise ImportRefused(sorted(self.invalid)[:BAD_LINES_SHOWN], self.invalid_count)

    def _read(self, number: int, line: str) -> Flight | None:
        if number > LINES_MAX:
            raise BadLine(f"the file has more than {LINES_MAX:,} lines; split it", is_final=True)
        if len(line) > LINE_CHARACTERS_MAX:
            raise BadLine(
                f"the line has more than {LINE_CHARACTERS_MAX:,} characters", is_final=True
            )
        if self.columns is None:
            self.columns = Columns.of_header(line)
            return None
        flight = self.columns.flight(line)
        if flight is None:
            return None
        first = self._first_line.setdefault(flight.flight_id, number)
        if first != number:
            raise BadLine(f"{flight.flight_id} is already on line {first}")
        return flight

    async def _store(self, flights: dict[int, Flight]) -> None:
        new = set() if self.invalid else await insert(self.session, list(flights.values()))
        self.added += len(new)
        self.flight_ids.extend(flight.flight_id for flight in flights.values())
        known = await read_flights(
            self.session, {flight.flight_id for flight in flights.values()} - new
        )
        for number, flight in flights.items():
            if flight.flight_id in known and not same_terms(flight, known[flight.flight_id]):
                self._reject(
                    number,
                    f"{flight.flight_id} exists with other terms; an import only adds flights",
                )

    def _reject(self, number: int, reason: str) -> None:
        self.invalid_count += 1
        # One chunk more than is shown: lines of a chunk are not rejected in order.
        if len(self.invalid) < BAD_LINES_SHOWN + CHUNK_LINES:
            self.invalid.append((number, reason))


def _chunks(lines: Iterable[str]) -> Iterator[list[tuple[int, str]]]:
    numbered = iter(enumerate(lines, start=1))
    while chunk := list(islice(numbered, CHUNK_LINES)):
        yield chunk
