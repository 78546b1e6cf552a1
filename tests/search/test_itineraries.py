"""What is kept of a day: one reading for many searches, and never old terms for a new price."""

from datetime import timedelta

import pytest

from app.inventory.model import CabinName
from app.money import Money
from app.schedule.changes import CabinChange, ClassChange
from app.schedule.service import ScheduleService
from app.search import itineraries, store
from app.search.model import Offer, Path, SearchQuery
from app.search.service import SearchService
from app.storage.database import ReadSession
from tests.builders.flights import DEPARTING, flight, put_flights
from tests.builders.holds import DEMO
from tests.builders.search import DAY, Shop, query


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What was read from Postgres."""
    asked: list[object] = []
    read = store.read_paths

    async def counted(session: ReadSession, one: SearchQuery) -> list[Path]:
        asked.append(one)
        return await read(session, one)

    monkeypatch.setattr(store, "read_paths", counted)
    return asked


async def prices(search: SearchService) -> list[int]:
    found, _ = await search.offers(DEMO, query(), None, 50)
    return [one.price.total.minor for one in found]


async def test_a_day_is_read_once_for_many_searches(shop: Shop, readings: list[object]) -> None:
    await shop.sells(flight(flight_id="flt_a"))
    search = shop.search
    assert [await prices(search) for _ in range(5)] == [[89_900]] * 5
    assert len(readings) == 1
    await search.offers(DEMO, query(departure_date=DAY + timedelta(days=1)), None, 50)
    assert len(readings) == 2


async def test_another_processs_change_is_seen_at_once(shop: Shop, readings: list[object]) -> None:
    """The live numbers name the version of the terms they are counted by."""
    await shop.sells(flight(flight_id="flt_a"))
    search = shop.search
    (before,) = (await search.offers(DEMO, query(), None, 50))[0]
    cheaper = ClassChange("M", fare=Money(50_000, "CLP"))
    await shop.schedule.patch(
        before.slices[0].flight_ids[0], [CabinChange(CabinName.ECONOMY, (cheaper,))]
    )
    assert await prices(search) == [50_000]
    assert len(readings) == 2
    assert await prices(search) == [50_000]
    assert len(readings) == 2
    later = flight(flight_id="flt_a", departing=DEPARTING + timedelta(days=1))
    await shop.schedule.put(later)
    assert await prices(search) == []


async def test_a_new_flight_is_found_at_once_by_who_put_it(shop: Shop) -> None:
    search, core = shop.search, shop.core
    assert await prices(search) == []
    schedule = ScheduleService(
        core.database, core.availability, shop.moment, search.schedule_changed
    )
    await schedule.put(flight(flight_id="flt_a"))
    assert await prices(search) == [89_900]
    for leg in (
        flight(flight_id="flt_b", destination="LIM", classes=(("Y", 9, Money(10_000, "CLP")),)),
        flight(
            flight_id="flt_c",
            origin="LIM",
            classes=(("Y", 9, Money(10_000, "CLP")),),
            departing=DEPARTING + timedelta(hours=16),
        ),
    ):
        await schedule.put(leg)
    assert await prices(search) == [20_000, 89_900]


async def test_a_new_flight_is_found_soon_by_the_others(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(itineraries, "FRESH_SECONDS", 0.0)
    search = shop.search
    assert await prices(search) == []
    await put_flights(shop.core.database, flight(flight_id="flt_a"))
    assert await prices(search) == [], "kept, and read again behind this answer"
    await shop.core.background.drain(5)
    assert await prices(search) == [89_900]


async def test_a_kept_days_terms_are_judged_by_the_hold(shop: Shop) -> None:
    await shop.sells(flight(flight_id="flt_a"))
    search = shop.search
    offers: list[Offer] = (await search.offers(DEMO, query(), None, 50))[0]
    assert (await shop.hold_offer(offers[0])).price == offers[0].price
