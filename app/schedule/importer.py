"""Whole schedules from CSV files: one line a flight, all of a file or nothing of it.

The columns are documented in docs/import.md. Every line is judged by itself, so a refusal names its
line as an editor counts it. A file only adds: a flight that is known with the same terms is left as it
is, one that is known with others is a bad line. Reads in chunks; what is kept of each line is its id.
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
APPLY_FLIGHTS = 200  # a call; with at most two cabins each this stays within 500 rows
APPLY_ROWS_MAX = 500

Apply = Callable[[Sequence[InventoryRow]], Awaitable[None]]
Progress = Callable[[int, int], None]
"""Called with what is done and what there is to do, in a unit of the caller's."""


@dataclass(frozen=True, slots=True)
class ImportReport:
    added: int
    unchanged: int


async def import_file(
    database: Database, path: Path, apply: Apply, progress: Progress
) -> ImportReport:
    """Loads a file in one transaction, then hands the rows to `apply`. Raises ImportRefused.

    `progress` counts bytes.
    """
    size = (await asyncio.to_thread(path.stat)).st_size
    if size > FILE_BYTES_MAX:
        raise ImportRefused([(1, f"the file has more than {FILE_BYTES_MAX:,} bytes")], 1)

    def lines() -> Iterator[str]:
        # Nothing but ASCII is valid in any column: a stray byte is told by the cell's own rule.
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
    """As `import_file`, from lines that can be read again should the transaction be run again."""

    async def work(session: WriteSession) -> "_Loading":
        loading = _Loading(session)
        for chunk in _chunks(lines()):
            await loading.take(chunk)
            progress(min(loading.characters, characters), characters)
        loading.refuse_if_bad()
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
    """One pass over a file. After the first bad line it only looks for more of them."""

    session: WriteSession
    columns: Columns | None = None
    characters: int = 0
    added: int = 0
    flight_ids: list[FlightId] = field(default_factory=list)
    bad: list[tuple[int, str]] = field(default_factory=list)
    bad_count: int = 0
    _first_line: dict[FlightId, int] = field(default_factory=dict)

    async def take(self, chunk: Sequence[tuple[int, str]]) -> None:
        flights: dict[int, Flight] = {}
        for number, line in chunk:
            self.characters += len(line)
            try:
                flight = self._read(number, line)
            except BadLine as error:
                self._refuse(number, error.reason)
                if self.columns is None or error.is_last:
                    self.refuse_if_bad()
            else:
                if flight is not None:
                    flights[number] = flight
        if flights:
            await self._store(flights)

    def refuse_if_bad(self) -> None:
        if self.columns is None and not self.bad:
            self._refuse(1, "the file is empty; its first line names the columns")
        if self.bad:
            raise ImportRefused(sorted(self.bad)[:BAD_LINES_SHOWN], self.bad_count)

    def _read(self, number: int, line: str) -> Flight | None:
        if number > LINES_MAX:
            raise BadLine(f"a file takes at most {LINES_MAX:,} lines", is_last=True)
        if len(line) > LINE_CHARACTERS_MAX:
            raise BadLine(f"a line takes at most {LINE_CHARACTERS_MAX:,} characters", is_last=True)
        if self.columns is None:
            self.columns = Columns.of_header(line)
            return None
        flight = self.columns.flight(line)
        if flight is None:
            return None
        first = self._first_line.setdefault(flight.flight_id, number)
        if first != number:
            raise BadLine(f"{flight.flight_id} stands on line {first} already")
        return flight

    async def _store(self, flights: dict[int, Flight]) -> None:
        new = set() if self.bad else await insert(self.session, list(flights.values()))
        self.added += len(new)
        self.flight_ids.extend(flight.flight_id for flight in flights.values())
        known = await read_flights(
            self.session, {flight.flight_id for flight in flights.values()} - new
        )
        for number, flight in flights.items():
            if flight.flight_id in known and not same_terms(flight, known[flight.flight_id]):
                self._refuse(
                    number,
                    f"{flight.flight_id} is known with other terms; an import only adds flights",
                )

    def _refuse(self, number: int, reason: str) -> None:
        self.bad_count += 1
        if len(self.bad) < BAD_LINES_SHOWN + CHUNK_LINES:  # the first ones, once in order
            self.bad.append((number, reason))


def _chunks(lines: Iterable[str]) -> Iterator[list[tuple[int, str]]]:
    numbered = iter(enumerate(lines, start=1))
    while chunk := list(islice(numbered, CHUNK_LINES)):
        yield chunk
