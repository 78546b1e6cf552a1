"""The statements of search: bounded, and carried by their indexes."""

from dataclasses import dataclass
from datetime import date, timedelta

import pytest
from sqlalchemy import TextClause, text

from app.search import store
from app.search.model import Path, Route
from app.storage.database import Database, ReadSession, WriteSession
from tests.builders.flights import DEPARTING, flight, put_flights
from tests.builders.search import DAY, NOW, Shop, query

LATER = DEPARTING + timedelta(days=40)
_MANY = text(
    """
    INSERT INTO flights (
        flight_id, carrier, flight_number, origin, destination, departure_date, departing_local,
        departing_time_zone, departing_utc, arriving_local, arriving_time_zone, arriving_utc)
    SELECT 'flt_' || pair || '_' || day, 'LA', '1', 'A' || chr(65 + pair / 26) || chr(65 + pair % 26),
           'ZZZ', date '2027-03-02' + day, timestamp '2027-03-02 08:00' + day * interval '1 day', 'UTC',
           timestamptz '2027-03-02 08:00Z' + day * interval '1 day', '2027-03-02 09:00', 'UTC', now()
    FROM generate_series(0, 59) AS pair, generate_series(0, 299) AS day
    """
)
# Every station flies to every other one three times a day, each pair in hours of its own.
_NETWORK = text(
    """
    INSERT INTO flights (
        flight_id, carrier, flight_number, origin, destination, departure_date, departing_local,
        departing_time_zone, departing_utc, arriving_local, arriving_time_zone, arriving_utc)
    SELECT concat_ws('_', 'flt', a, b, day, hour), 'LA', '1', 'S' || lpad(a::text, 2, '0'),
           'S' || lpad(b::text, 2, '0'), departing::date, departing, 'UTC',
           departing AT TIME ZONE 'UTC', departing + interval '2 hours', 'UTC',
           (departing + interval '2 hours') AT TIME ZONE 'UTC'
    FROM generate_series(0, 11) AS a, generate_series(0, 11) AS b, generate_series(0, 59) AS day,
         generate_series(6, 16, 5) AS hour,
         LATERAL (SELECT timestamp '2027-02-20 00:00' + day * interval '1 day'
                      + (hour + (a + b) % 5) * interval '1 hour' AS departing) AS dated
    WHERE a <> b
    """
)
_CABINS = text(
    """
    INSERT INTO inventory (flight_id, cabin, rank, capacity, booking_classes, fares, currency,
                           limits, ceilings, sold, ceiling_total)
    SELECT flight_id, 'economy', 0, 150, '{Y}', '{100}', 'CLP', '{150}', '{150}', '{0}', 150
    FROM flights
    """
)


async def test_routes_by_their_first_and_last_day_to_come(shop: Shop) -> None:
    left = flight(flight_id="flt_left", departing=DEPARTING - timedelta(days=30))
    await put_flights(
        shop.core.database,
        left,
        flight(flight_id="flt_gone", origin="BOG", departing=DEPARTING - timedelta(days=30)),
        flight(flight_id="flt_a"),
        flight(flight_id="flt_b", departing=LATER),
        flight(flight_id="flt_c", destination="LIM", departing=LATER),
        flight(flight_id="flt_d", origin="EZE"),
    )
    whole = [
        Route("EZE", "GRU", DAY, DAY),
        Route("SCL", "GRU", DAY, LATER.date()),
        Route("SCL", "LIM", LATER.date(), LATER.date()),
    ]
    assert await shop.search.routes(None, 3) == (whole, None)
    first, after = await shop.search.routes(None, 1)
    second, end = await shop.search.routes(after, 2)
    assert (first + second, after, end) == (whole, ("EZE", "GRU"), None)
    shop.moment.now = left.departing_at.utc - timedelta(seconds=1)
    (bog, *_), _ = await shop.search.routes(None, 9)
    assert bog.origin == "BOG"


@pytest.mark.parametrize("seconds", [-1, 0])
async def test_a_day_of_which_a_flight_is_to_come_counts(shop: Shop, seconds: int) -> None:
    night = flight(flight_id="flt_a", departing=DEPARTING.replace(hour=23))
    await put_flights(shop.core.database, flight(flight_id="flt_b"), night)
    assert night.departing_at.utc.date() > DAY
    shop.moment.now = night.departing_at.utc + timedelta(seconds=seconds)
    routes, _ = await shop.search.routes(None, 9)
    assert routes == ([Route("SCL", "GRU", DAY, DAY)] if seconds < 0 else [])


async def test_a_flight_that_left_today_is_neither_first_nor_last(shop: Shop) -> None:
    """The later of two dates can be the earlier instant, where zones differ."""
    morning = flight(flight_id="flt_a")
    ahead = flight(
        flight_id="flt_b",
        destination="LIM",
        departing=DEPARTING.replace(hour=1) + timedelta(days=1),
        departing_time_zone="Pacific/Auckland",
        arriving=DEPARTING + timedelta(days=2),
    )
    evening = DEPARTING.replace(hour=20)
    await put_flights(
        shop.core.database,
        morning,
        flight(flight_id="flt_c", departing=DEPARTING + timedelta(days=1)),
        ahead,
        flight(flight_id="flt_d", destination="LIM", departing=evening),
    )
    shop.moment.now = max(morning.departing_at.utc, ahead.departing_at.utc)
    next_day = DAY + timedelta(days=1)
    routes, _ = await shop.search.routes(None, 9)
    assert routes == [Route("SCL", "GRU", next_day, next_day), Route("SCL", "LIM", DAY, DAY)]


async def test_routes_are_carried_by_the_market_index(shop: Shop) -> None:
    """18,000 flights of 60 pairs: the table is not read through."""
    database = shop.core.database
    await execute(database, _MANY, text("ANALYZE flights"))
    async with database.snapshot() as session:
        before = await rows_read(session, "flights")
        routes = await store.read_routes(session, NOW, ("", ""), 100)
        after = await rows_read(session, "flights")
    assert len(routes) == 60
    assert routes[0] == Route("AAA", "ZZZ", date(2027, 3, 2), date(2027, 12, 26))
    assert after.scans == before.scans
    assert after.fetched - before.fetched < 60 * 5


async def test_flights_without_a_cabin_are_not_for_sale(shop: Shop) -> None:
    await execute(shop.core.database, _MANY)
    async with shop.core.database.reading() as session:
        assert await store.read_paths(session, query(origin="AAA", destination="ZZZ")) == []


@pytest.mark.parametrize(("is_analyzed", "fetched_below"), [(False, 6_000), (True, 600)])
async def test_a_day_of_connections_is_carried_by_indexes(
    shop: Shop, is_analyzed: bool, fetched_below: int
) -> None:
    """23,760 flights between 12 stations. Without statistics the server may take either index."""
    database = shop.core.database
    await execute(database, _NETWORK, _CABINS)
    if is_analyzed:
        await execute(database, text("ANALYZE flights"), text("ANALYZE inventory"))
    async with database.snapshot() as session:
        before = {table: await rows_read(session, table) for table in ("flights", "inventory")}
        paths = await store.read_paths(session, query(origin="S00", destination="S01"))
        after = {table: await rows_read(session, table) for table in ("flights", "inventory")}
    assert sorted(map(len, paths)) == [1] * 3 + [2] * 90
    for table, then in before.items():
        assert after[table].scans == then.scans, table
        assert after[table].fetched - then.fetched < fetched_below, table


async def test_a_market_has_the_two_hundred_fastest_connections(shop: Shop) -> None:
    """Fifteen first flights, each to fifteen second ones; the later the first, the faster."""
    await put_flights(
        shop.core.database,
        *(
            flight(
                flight_id=f"flt_{way}-{n:02}",
                origin=way[:3],
                destination=way[4:],
                departing=DEPARTING + timedelta(minutes=n if way == "SCL-LIM" else 300 + 20 * n),
                departing_time_zone="UTC",
                arriving=DEPARTING + timedelta(minutes=100 if way == "SCL-LIM" else 400 + 20 * n),
                arriving_time_zone="UTC",
            )
            for n in range(15)
            for way in ("SCL-LIM", "LIM-GRU")
        ),
    )
    async with shop.core.database.reading() as session:
        paths = await store.read_paths(session, query())
        direct = await store.read_paths(session, query(max_connections=0))
    lasting = {
        (first, second): 400 + 20 * second - first for first in range(15) for second in range(15)
    }
    fastest = sorted(lasting, key=lambda pair: (lasting[pair], pair[0]))[: store.CONNECTIONS_MAX]
    assert store.CONNECTIONS_MAX == 200
    assert [numbers(path) for path in paths] == sorted(fastest)
    assert direct == []


def numbers(path: Path) -> tuple[int, ...]:
    return tuple(int(one.flight_id[-2:]) for one in path)


async def execute(database: Database, *statements: TextClause) -> None:
    async def work(session: WriteSession) -> None:
        for statement in statements:
            await session.execute(statement)

    await database.run_in_transaction(work)


@dataclass(frozen=True)
class RowsRead:
    scans: int  # of the whole table
    fetched: int  # rows, through indexes


async def rows_read(session: ReadSession, table: str) -> RowsRead:
    """In this transaction: each statement of a `reading` session would be one of its own."""
    found = await session.execute(
        text(
            "SELECT seq_scan, coalesce(idx_tup_fetch, 0) AS fetched"
            " FROM pg_stat_xact_user_tables WHERE relname = :table"
        ),
        {"table": table},
    )
    row = found.one()
    return RowsRead(row.seq_scan, row.fetched)
