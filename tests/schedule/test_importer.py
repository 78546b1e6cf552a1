"""Files of flights: all or nothing, with the number and the reason of every bad line."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import text

from app.ids import FlightId
from app.inventory.model import CabinName, InventoryRow
from app.inventory.store import read_flights
from app.schedule import importer
from app.schedule.columns import CABIN_PARTS, FLIGHT_COLUMNS, HEADER
from app.schedule.errors import ImportRefused
from app.schedule.importer import ImportReport, import_file
from app.storage.database import Database
from tests.builders.flights import flight, put_flights

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLE = DOCS / "examples" / "flights.csv"
GOOD = (
    "flt_a,LA,801,SCL,GRU,2027-03-10 08:30,America/Santiago,2027-03-10T14:30:00,America/Sao_Paulo,"
    ",,,150,CLP,Y:10:129900 M:6:89900"
)


class Applied:
    """Where rows go after the commit."""

    def __init__(self) -> None:
        self.calls: list[list[InventoryRow]] = []

    async def __call__(self, rows: Sequence[InventoryRow]) -> None:
        self.calls.append(list(rows))

    @property
    def flight_ids(self) -> set[str]:
        return {row.flight_id for call in self.calls for row in call}


@pytest.fixture
async def database(empty_database: str) -> AsyncIterator[Database]:
    database = Database(empty_database)
    yield database
    await database.close()


@pytest.fixture
def applied() -> Applied:
    return Applied()


def _file(tmp_path: Path, *lines: str, header: Sequence[str] = HEADER, end: str = "\n") -> Path:
    path = tmp_path / "flights.csv"
    path.write_bytes((end.join([",".join(header), *lines]) + end).encode())
    return path


def _nothing(_done: int, _total: int) -> None:
    pass


async def _count(database: Database) -> int:
    async with database.reading() as session:
        return int((await session.execute(text("SELECT count(*) FROM flights"))).scalar_one())


async def _refusal(database: Database, path: Path) -> ImportRefused:
    applied = Applied()
    with pytest.raises(ImportRefused) as refused:
        await import_file(database, path, applied, _nothing)
    assert await _count(database) == 0
    assert applied.calls == []
    return refused.value


async def test_the_example_of_the_page_is_loaded(database: Database, applied: Applied) -> None:
    seen: list[tuple[int, int]] = []
    report = await import_file(database, EXAMPLE, applied, lambda *done: seen.append(done))
    assert report == ImportReport(added=2, unchanged=0)
    async with database.reading() as session:
        known = await read_flights(session, [FlightId("flt_LA801-20270310")])
    loaded = known[FlightId("flt_LA801-20270310")]
    assert [cabin.cabin for cabin in loaded.cabins] == [CabinName.BUSINESS, CabinName.ECONOMY]
    assert loaded.cabins[1].booking_classes[5].fare.amount == "129.90"
    assert loaded.arriving_at.utc.isoformat() == "2027-03-10T15:35:00+00:00"
    assert applied.flight_ids == {"flt_LA801-20270310", "flt_LA105-20270310"}
    assert seen[-1] == (EXAMPLE.stat().st_size, EXAMPLE.stat().st_size)


async def test_the_same_file_again_changes_nothing_and_applies_again(
    database: Database, applied: Applied
) -> None:
    await import_file(database, EXAMPLE, applied, _nothing)
    report = await import_file(database, EXAMPLE, applied, _nothing)
    assert report == ImportReport(added=0, unchanged=2)
    assert await _count(database) == 2
    assert len(applied.calls) == 2  # rows that a crash kept from Redis get there by a second run


async def test_a_spreadsheets_habits_are_read(database: Database, tmp_path: Path) -> None:
    path = _file(
        tmp_path, '"' + GOOD.replace(",", '","') + '"', "," * (len(HEADER) - 1), end="\r\n"
    )
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    report = await import_file(database, path, Applied(), _nothing)
    assert report.added == 1
    async with database.reading() as session:
        known = await read_flights(session, [FlightId("flt_a")])
    assert known[FlightId("flt_a")] == flight(flight_id="flt_a")


async def test_semicolons_separate_too(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "flights.csv"
    path.write_text(f"{','.join(HEADER)}\n{GOOD}\n".replace(",", ";"))
    assert (await import_file(database, path, Applied(), _nothing)).added == 1


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (GOOD.replace("2027-03-10 08:30", "10/03/2027"), "departing_local '10/03/2027' is not"),
        (GOOD.replace("2027-03-10 08:30", "2027-02-30 08:30"), "is not a local time"),
        (GOOD.replace("America/Santiago", "Santiago"), "time_zone must be an IANA name"),
        (GOOD.replace("T14:30", "T05:30"), "Arrival must be after departure"),
        (GOOD.replace("LA,801", "LATAM,801"), "Carrier must be two"),
        (GOOD.replace("Y:10:", "Y:10 "), "is not CLASS:LIMIT:FARE"),
        (GOOD.replace("129900", "129900.00"), "amount in CLP must have exactly 0 decimals"),
        (GOOD.replace("CLP", "XXQ"), "ISO 4217"),
        (GOOD.replace("M:6:89900", "M:6:189900"), "must not cost more than class Y"),
        (GOOD.replace(",150,", ",many,"), "economy_capacity 'many' is not a number"),
        (GOOD + ",more", "16 cells, but the header has 15"),
        (GOOD.replace("LA,", '"LA,'), "quotes do not match"),
        (GOOD.replace("801", "8\x1b[31m01"), "Flight_number must be"),
        (GOOD.replace("CLP", "\x00"), "ISO 4217"),
        (GOOD.replace("flt_a", "flt_á"), "flt_ followed by 1 to 60"),
        (GOOD.replace("150,CLP,Y:10:129900 M:6:89900", ",,"), "at least one cabin"),
    ],
)
async def test_a_bad_line_is_told_by_number_and_reason(
    database: Database, tmp_path: Path, bad: str, reason: str
) -> None:
    refusal = await _refusal(database, _file(tmp_path, GOOD.replace("flt_a", "flt_0"), "", bad))
    ((number, told),) = refusal.lines
    assert number == 4
    assert reason in told
    assert told.isascii()
    assert told.isprintable()


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ([], "column flight_id is missing"),
        (HEADER[:-1], "column economy_classes is missing"),
        (HEADER[:9], "columns of at least one cabin are missing"),
        ((*HEADER, "price"), "unknown column 'price'"),
        ((*HEADER, "origin"), "column origin is listed twice"),
    ],
)
async def test_a_bad_header_is_line_one(
    database: Database, tmp_path: Path, header: Sequence[str], reason: str
) -> None:
    refusal = await _refusal(database, _file(tmp_path, GOOD, header=header))
    assert refusal.lines[0][0] == 1
    assert reason in refusal.lines[0][1]
    assert refusal.bad_lines == 1


async def test_an_empty_file_is_refused(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "empty.csv"
    path.touch()
    assert (await _refusal(database, path)).lines[0][0] == 1


async def test_bytes_that_are_no_text_are_a_bad_line(database: Database, tmp_path: Path) -> None:
    path = _file(tmp_path, GOOD)
    path.write_bytes(path.read_bytes().replace(b"flt_a", b"flt_\xff"))
    assert [number for number, _ in (await _refusal(database, path)).lines] == [2]


async def test_all_bad_lines_are_counted_and_the_first_twenty_told(
    database: Database, tmp_path: Path
) -> None:
    good = [GOOD.replace("flt_a", f"flt_{n}") for n in range(600)]  # more than a chunk
    bad = [GOOD.replace("SCL,", "scl,").replace("flt_a", f"flt_{n}") for n in range(600, 630)]
    refusal = await _refusal(database, _file(tmp_path, *good, *bad))
    assert refusal.bad_lines == 30
    assert [number for number, _ in refusal.lines] == list(range(602, 622))


async def test_a_flight_that_stands_twice_is_a_bad_line(database: Database, tmp_path: Path) -> None:
    refusal = await _refusal(database, _file(tmp_path, GOOD, GOOD))
    assert refusal.lines == ((3, "flt_a is already on line 2"),)


async def test_a_known_flight_with_other_terms_is_a_bad_line(
    database: Database, tmp_path: Path
) -> None:
    await put_flights(database, flight(flight_id="flt_a"))
    path = _file(tmp_path, GOOD, GOOD.replace("flt_a", "flt_new"))
    assert (await import_file(database, path, Applied(), _nothing)).unchanged == 1
    path = _file(tmp_path, GOOD.replace("flt_a", "flt_b"), GOOD.replace("Y:10:", "Y:11:"))
    with pytest.raises(ImportRefused) as refused:
        await import_file(database, path, Applied(), _nothing)
    ((number, reason),) = refused.value.lines
    assert number == 3
    assert "exists with other terms" in reason
    assert await _count(database) == 2  # flt_b was not loaded


async def test_what_is_too_long_is_refused(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = _file(tmp_path, "x" * (importer.LINE_CHARACTERS_MAX + 10))
    assert "characters" in (await _refusal(database, endless)).lines[0][1]
    monkeypatch.setattr(importer, "LINES_MAX", 2)
    long = _file(tmp_path, GOOD, GOOD.replace("flt_a", "flt_b"))
    assert (await _refusal(database, long)).lines[0][0] == 3
    monkeypatch.setattr(importer, "FILE_BYTES_MAX", 10)
    assert "bytes" in (await _refusal(database, long)).lines[0][1]


async def test_rows_reach_redis_in_bounded_calls(
    database: Database, applied: Applied, tmp_path: Path
) -> None:
    lines = [GOOD.replace("flt_a", f"flt_{n}") for n in range(1100)]
    await import_file(database, _file(tmp_path, *lines), applied, _nothing)
    assert max(len(call) for call in applied.calls) <= importer.APPLY_ROWS_MAX
    assert len(applied.flight_ids) == 1100


def test_the_page_names_every_column_and_bound() -> None:
    page = (DOCS / "import.md").read_text()
    for column in (*FLIGHT_COLUMNS, *(f"CABIN_{part}" for part in CABIN_PARTS)):
        assert f"| `{column}` |" in page
    for bound in (importer.LINES_MAX, importer.LINE_CHARACTERS_MAX):
        assert f"{bound:,}" in page
    assert f"{importer.FILE_BYTES_MAX // 1_000_000} MB" in page
    assert f"the first {importer.BAD_LINES_SHOWN} of them" in page
