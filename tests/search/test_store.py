"""The statements of search: bounded, and carried by their index."""

from datetime import date, timedelta

import pytest
from sqlalchemy import text

from app.search import store
from app.search.model import Route
from app.storage.database import ReadSession
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


async def test_both_statements_are_carried_by_the_market_index(shop: Shop) -> None:
    """18,000 flights of 60 pairs: no statement may read the table through."""
    database = shop.core.database
    await database.run_in_transaction(lambda session: session.execute(_MANY))
    await database.run_in_transaction(lambda session: session.execute(text("ANALYZE flights")))
    async with database.reading() as session:
        before = await rows_read(session)
        routes = await store.read_routes(session, NOW, ("", ""), 100)
        assert len(routes) == 60
        assert routes[0] == Route("AAA", "ZZZ", date(2027, 3, 2), date(2027, 12, 26))
        paths = await store.read_paths(session, query(origin="AAA", destination="ZZZ"))
        assert paths == [], "flights without a cabin are not for sale"
        scans, fetched = (
            now - then for now, then in zip(await rows_read(session), before, strict=True)
        )
    assert scans == 0
    assert fetched < 60 * 5


async def rows_read(session: ReadSession) -> tuple[int, int]:
    """Of `flights`, in this transaction: scans of the table, and rows fetched through indexes."""
    found = await session.execute(
        text(
            "SELECT seq_scan, coalesce(idx_tup_fetch, 0) AS fetched"
            " FROM pg_stat_xact_user_tables WHERE relname = 'flights'"
        )
    )
    row = found.one()
    return row.seq_scan, row.fetched
