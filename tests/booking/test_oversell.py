"""The last wall: whatever comes before it goes wrong, Postgres sells no seat twice."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from app.ids import FlightId
from app.inventory.model import CabinName, InventoryRow, SeatLine, open_seats
from app.inventory.store import add_sold, subtract_sold
from app.storage.database import WriteSession
from app.wiring import Core
from tests.booking.conftest import NORTH, SOUTH, Rows
from tests.builders.flights import flight
from tests.fixtures.core import sell_from

SELL_ONE_MORE = (
    "UPDATE inventory SET sold = '{11,0}', sold_total = 11 WHERE flight_id = 'flt_south'"
)


class _RolledBackError(Exception):
    pass


@pytest.fixture
async def on_sale(core: Core) -> Core:
    await sell_from(core, flight(flight_id=SOUTH), flight(flight_id=NORTH, flight_number="802"))
    return core


def line(flight_id: str, position: int, seats: int) -> SeatLine:
    return SeatLine(FlightId(flight_id), CabinName.ECONOMY, position, seats)


async def test_the_check_refuses_more_than_the_ceiling_whoever_writes(on_sale: Core) -> None:
    async def write(session: WriteSession) -> None:
        await session.execute(text(SELL_ONE_MORE))

    with pytest.raises(IntegrityError, match="no_oversell"):
        await on_sale.database.run_in_transaction(write)


async def test_giving_back_what_was_never_sold_is_refused(on_sale: Core) -> None:
    with pytest.raises(IntegrityError, match="no_oversell"):
        await on_sale.database.run_in_transaction(
            lambda session: subtract_sold(session, [line(SOUTH, 1, 1)])
        )


async def test_sales_at_once_stop_at_the_limit_of_every_class(on_sale: Core, rows: Rows) -> None:
    async def sell_one(position: int) -> bool:
        async def work(session: WriteSession) -> list[InventoryRow] | SeatLine:
            return await add_sold(session, [line(SOUTH, position, 1)])

        return isinstance(await on_sale.database.run_in_transaction(work), list)

    sold = await asyncio.gather(*(sell_one(1 + number % 2) for number in range(16)))

    assert sum(sold) == 10
    (row,) = await rows("SELECT sold, sold_total FROM inventory WHERE flight_id = 'flt_south'")
    assert row["sold_total"] == sum(row["sold"]) == 10
    assert row["sold"][1] <= 6


async def test_one_line_that_does_not_fit_is_named_and_nothing_is_kept(
    on_sale: Core, rows: Rows
) -> None:
    async def work(session: WriteSession) -> None:
        refused = await add_sold(session, [line(SOUTH, 2, 3), line(NORTH, 2, 7)])
        assert refused == line(NORTH, 2, 7)
        raise _RolledBackError

    with pytest.raises(_RolledBackError):
        await on_sale.database.run_in_transaction(work)
    assert [row["sold_total"] for row in await rows("SELECT sold_total FROM inventory")] == [0, 0]


@st.composite
def _cabins(draw: st.DrawFn) -> tuple[list[int], list[int], int, int]:
    """Ceilings in any order, what is sold within them, and a wish."""
    ceilings = draw(st.lists(st.integers(0, 12), min_size=1, max_size=5))
    sold = [0] * len(ceilings)
    for position in draw(st.lists(st.integers(0, len(ceilings) - 1), max_size=20)):
        if open_seats(ceilings, sold)[position] > 0:
            sold[position] += 1
    return ceilings, sold, draw(st.integers(1, len(ceilings))), draw(st.integers(1, 9))


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(_cabins())
async def test_the_guard_in_sql_is_the_arithmetic_of_nested_classes(
    on_sale: Core, cabin: tuple[list[int], list[int], int, int]
) -> None:
    ceilings, sold, position, seats = cabin

    async def work(session: WriteSession) -> None:
        await session.execute(
            text(
                "UPDATE inventory SET limits = :ceilings, ceilings = :ceilings, sold = :sold,"
                " sold_total = :total, ceiling_total = :most WHERE flight_id = 'flt_south'"
            ),
            {"ceilings": ceilings, "sold": sold, "total": sum(sold), "most": ceilings[0]},
        )
        outcome = await add_sold(session, [line(SOUTH, position, seats)])
        if open_seats(ceilings, sold)[position - 1] < seats:
            assert isinstance(outcome, SeatLine)
        else:
            assert isinstance(outcome, list)
            expected = list(sold)
            expected[position - 1] += seats
            assert outcome[0].sold == tuple(expected)
        raise _RolledBackError

    with pytest.raises(_RolledBackError):
        await on_sale.database.run_in_transaction(work)
