"""The sample network: what the contract's reader finds after `make run`, and that it comes by itself."""

import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import airportsdata
import pytest
from sqlalchemy import text

from app.dev.network import CONNECTION_MINUTES, Service, airports, kilometres, services
from app.dev.sample import DAYS_AHEAD, top_up
from app.inventory.model import CabinName, Flight, InventoryRow
from app.schedule.columns import HEADER, Columns
from app.storage.database import Database, WriteSession

HUBS = ("SCL", "GRU", "LIM", "BOG", "EZE")
SOUTH_AMERICA = {"AR", "BO", "BR", "CL", "CO", "EC", "GF", "GY", "PE", "PY", "SR", "UY", "VE"}
LOCAL_CURRENCY = {"CL": "CLP", "BR": "BRL", "PE": "PEN", "CO": "COP", "AR": "ARS"}
NOW = datetime(2026, 12, 10, 2, 30, tzinfo=UTC)  # the 9th still, west of Brazil


@pytest.fixture
async def database(empty_database: str) -> AsyncIterator[Database]:
    database = Database(empty_database)
    yield database
    await database.close()


async def _nowhere(_rows: Sequence[InventoryRow]) -> None:
    pass


def _quietly(_done: int, _total: int) -> None:
    pass


def _flights(day: date) -> dict[Service, Flight]:
    columns = Columns.of_header(",".join(HEADER))
    found = {service: columns.flight(service.line(day)) for service in services()}
    return {service: flight for service, flight in found.items() if flight is not None}


def test_there_are_three_hundred_flights_a_day_between_forty_real_airports() -> None:
    assert len(services()) >= 300
    assert len(airports()) >= 40
    known = airportsdata.load("IATA")
    assert all(known[code]["country"] in SOUTH_AMERICA for code in airports())


def test_the_five_hubs_fly_to_each_other() -> None:
    served = {(service.origin.code, service.destination.code) for service in services()}
    assert {(a, b) for a in HUBS for b in HUBS if a != b} <= served


def test_a_flight_number_means_one_flight() -> None:
    numbers = Counter((service.carrier, service.flight_number) for service in services())
    assert numbers.most_common(1)[0][1] == 1


def test_every_flight_is_believable() -> None:
    for service, flight in _flights(date(2026, 12, 10)).items():
        assert {cabin.cabin for cabin in flight.cabins} == {CabinName.BUSINESS, CabinName.ECONOMY}
        assert all(len(cabin.booking_classes) >= 6 for cabin in flight.cabins)
        countries = {service.origin.country, service.destination.country}
        expected = LOCAL_CURRENCY[countries.pop()] if len(countries) == 1 else "USD"
        for cabin in flight.cabins:
            assert {one.fare.currency for one in cabin.booking_classes} == {expected}
            fares = [one.fare.minor for one in cabin.booking_classes]
            assert fares == sorted(fares, reverse=True)
            assert fares[-1] > 0
        speed = kilometres(service.origin, service.destination) / (
            flight.duration.total_seconds() / 3600
        )
        assert 150 < speed < 900
        assert timedelta(minutes=35) <= flight.duration <= timedelta(hours=9)


def test_every_day_of_two_years_is_valid_whatever_the_clocks_do() -> None:
    for offset in range(730):
        day = date(2026, 1, 1) + timedelta(days=offset)
        if (day.month, day.weekday()) in {(4, 5), (4, 6), (9, 5), (9, 6)} or offset % 61 == 0:
            assert len(_flights(day)) == len(services())


def test_hubs_connect() -> None:
    flights = _flights(date(2026, 12, 10)).values()
    into = [f for f in flights if (f.origin, f.destination) == ("ANF", "SCL")]
    out = [f for f in flights if (f.origin, f.destination) == ("SCL", "PUQ")]
    waits = [b.departing_at.utc - a.arriving_at.utc for a in into for b in out]
    assert any(timedelta(hours=1) <= wait <= timedelta(hours=6) for wait in waits)


def test_hubs_have_a_connection_time_of_their_own() -> None:
    assert set(HUBS) <= CONNECTION_MINUTES.keys() <= airports().keys()


async def test_a_connection_time_that_somebody_set_stays(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.dev.sample.services", lambda: ())

    async def set_one(session: WriteSession) -> None:
        await session.execute(text("INSERT INTO minimum_connection_times VALUES ('SCL', 5)"))

    await database.run_in_transaction(set_one)
    for _ in range(2):
        await top_up(database, _nowhere, lambda: NOW, _quietly)
    async with database.reading() as session:
        found = await session.execute(text("SELECT station, minutes FROM minimum_connection_times"))
        assert {row.station: row.minutes for row in found} == {**CONNECTION_MINUTES, "SCL": 5}


async def test_sixty_days_ahead_are_there_by_each_origins_calendar(database: Database) -> None:
    applied: set[str] = set()

    async def apply(rows: Sequence[InventoryRow]) -> None:
        applied.update(row.flight_id for row in rows)

    started = time.process_time()
    added = await top_up(database, apply, lambda: NOW, _quietly)
    # Of this process alone, so that a busy machine does not count.
    assert time.process_time() - started < 30
    assert added == len(services()) * (DAYS_AHEAD + 1)
    assert len(applied) == added
    async with database.reading() as session:
        rows = await session.execute(
            text(
                "SELECT departing_time_zone, min(departure_date), max(departure_date),"
                " count(*) FROM flights GROUP BY 1"
            )
        )
        for time_zone, first, last, _ in rows:
            today = NOW.astimezone(ZoneInfo(time_zone)).date()
            assert (first, last) == (today, today + timedelta(days=DAYS_AHEAD))
        daily = await session.execute(
            text("SELECT count(*) FROM flights GROUP BY departure_date ORDER BY departure_date")
        )
        assert all(count >= 300 for count in list(daily.scalars())[1:-1])

    # A second start finds nothing to do and says so soon; the next day adds a day.
    started = time.process_time()
    assert await top_up(database, _nowhere, lambda: NOW, _quietly) == 0
    assert time.process_time() - started < 5
    later = NOW + timedelta(days=1)
    assert await top_up(database, _nowhere, lambda: later, _quietly) == len(services())


async def test_a_flight_that_somebody_changed_stays_as_it_is(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = services()[:3]
    monkeypatch.setattr("app.dev.sample.services", lambda: few)
    await top_up(database, _nowhere, lambda: NOW, _quietly)

    async def patched(session: WriteSession) -> None:
        await session.execute(text("UPDATE inventory SET limits[1] = 1"))

    await database.run_in_transaction(patched)
    later = NOW + timedelta(days=1)
    assert await top_up(database, _nowhere, lambda: later, _quietly) == 3
    async with database.reading() as session:
        kept = await session.execute(text("SELECT count(*) FROM inventory WHERE limits[1] = 1"))
        assert kept.scalar_one() == 3 * (DAYS_AHEAD + 1) * 2
