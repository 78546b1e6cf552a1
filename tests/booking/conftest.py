"""Two flights on sale, holds of them, and ways to look behind the bookings."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest
from sqlalchemy import text

from app.booking.service import BookingService
from app.hold.model import Hold
from app.hold.service import HoldService
from app.ids import FlightId, TenantId
from app.inventory.model import CabinCounts, CabinName
from app.wiring import Core
from tests.builders.bookings import booking_service
from tests.builders.flights import flight
from tests.builders.holds import DEMO, key, no_offers, request
from tests.fixtures.core import sell_from

SOUTH, NORTH = "flt_south", "flt_north"

Place = Callable[..., Awaitable[Hold]]
Counts = Callable[..., Awaitable[CabinCounts]]
Rows = Callable[..., Awaitable[Sequence[Mapping[str, Any]]]]


@pytest.fixture
async def holds(core: Core) -> HoldService:
    """Two flights: ten seats in Y of which six may be M."""
    await sell_from(core, flight(flight_id=SOUTH), flight(flight_id=NORTH, flight_number="802"))
    return core.holds(no_offers)


@pytest.fixture
def bookings(core: Core) -> BookingService:
    return booking_service(core)


@pytest.fixture
def place(holds: HoldService) -> Place:
    """`await place((SOUTH, "M"), adults=2)`; one seat in Y of the first flight unless it says more."""

    async def place(
        *choices: tuple[str, str],
        tenant_id: TenantId = DEMO,
        adults: int = 1,
        children: int = 0,
        infants: int = 0,
    ) -> Hold:
        wished = choices or ((SOUTH, "Y"),)
        asked = request(*wished, adults=adults, children=children, infants=infants)
        return (await holds.place(tenant_id, asked, key())).value

    return place


@pytest.fixture
def counts(core: Core) -> Counts:
    """The live numbers of a flight, once all that goes on in the background has ended."""

    async def counts(flight_id: str = SOUTH) -> CabinCounts:
        await core.background.drain(5)
        (found,) = await core.availability.counts([(FlightId(flight_id), CabinName.ECONOMY)])
        assert found is not None
        return found

    return counts


@pytest.fixture
def rows(core: Core) -> Rows:
    """`await rows("SELECT ...", name=value)`."""

    async def rows(statement: str, **parameters: object) -> Sequence[Mapping[str, Any]]:
        async with core.database.reading() as session:
            return [
                dict(row) for row in (await session.execute(text(statement), parameters)).mappings()
            ]

    return rows
