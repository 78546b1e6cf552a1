"""The ledger of seats on real servers: its entries, their sums, and that none is missing."""

from collections.abc import Sequence
from datetime import timedelta

import pytest
from sqlalchemy import text

from app.clock import utc_now
from app.errors import NotFound
from app.hold.model import Hold
from app.hold.repairs.expirer import Expirer
from app.ids import FlightId
from app.inventory.model import CabinName
from app.ledger import store
from app.ledger.model import CabinTotals, EntryKind, LedgerEntry, LedgerPage
from app.ledger.service import LedgerService
from app.schedule.changes import CabinChange, ClassChange
from app.schedule.service import ScheduleService
from app.storage.database import ReadSession, WriteSession
from app.wiring import Core
from tests.builders.bookings import booking_service, wanted
from tests.builders.flights import flight
from tests.builders.holds import DEMO, RIVAL, key, no_offers, request
from tests.fixtures.core import StartCore, sell_from

SOUTH, NORTH = FlightId("flt_south"), FlightId("flt_north")
_MANY = text(
    """
    INSERT INTO hold_journal (
        hold_id, tenant_id, idempotency_key, attempt, request_hash, lines, segments, passengers, price,
        epoch, granted_at, expires_at, first_expires_at, state, ended_at)
    SELECT 'hold_' || n, 'demo', n, 1, '',
        jsonb_build_array(jsonb_build_array('flt_' || n % 2000, 'economy', 1, 1)),
        '[{"booking_class": "Y"}]', '{}', '{}', 1, now(), now(), now(), 'RELEASED', now()
    FROM generate_series(1, 40000) AS n
    """
)


async def opened(core: Core) -> None:
    await sell_from(core, flight(flight_id=SOUTH), flight(flight_id=NORTH, flight_number="802"))


async def held(core: Core, *flights: str, letter: str = "Y", seats: int = 1) -> Hold:
    asked = request(*((one, letter) for one in flights), adults=seats)
    return (await core.holds(no_offers).place(DEMO, asked, key())).value


async def ledger(core: Core, flight_id: FlightId = SOUTH) -> LedgerPage:
    """All of it."""
    page = await LedgerService(core.database).page(flight_id, None, 200)
    assert page.after is None
    return page


def steps(entries: Sequence[LedgerEntry]) -> list[tuple[str, str, int | None, int]]:
    return [(one.kind.value, one.booking_class, one.seats, one.sold) for one in entries]


def sums(totals: CabinTotals) -> tuple[int, int, int, int]:
    return totals.limit, totals.free, totals.held, totals.sold


async def test_a_seats_way_from_the_hold_to_the_cancellation(core: Core) -> None:
    await opened(core)
    hold = await held(core, SOUTH, NORTH, letter="M", seats=2)
    await core.holds(no_offers).extend(DEMO, hold.hold_id, None)
    bookings = booking_service(core)
    booking = (await bookings.confirm(DEMO, wanted(hold), key())).value
    told = await ledger(core)
    assert steps(told.entries) == [
        ("held", "M", 2, 0),
        ("extended", "M", 2, 0),
        ("confirmed", "M", 2, 2),
    ]
    assert {(one.hold_id, one.tenant_id, one.epoch) for one in told.entries} == {
        (hold.hold_id, DEMO, 1)
    }
    assert [one.booking_id for one in told.entries] == [None, None, booking.booking_id]
    (totals,) = told.totals
    assert sums(totals) == (10, 8, 0, 2)
    assert (totals.confirmed, totals.cancelled) == (2, 0)

    await bookings.cancel(DEMO, booking.booking_id, None)
    for flight_id in (SOUTH, NORTH):
        told = await ledger(core, flight_id)
        assert steps(told.entries)[-1] == ("cancelled", "M", 2, 0)
        assert told.entries[-1].booking_id == booking.booking_id
        (totals,) = told.totals
        assert sums(totals) == (10, 10, 0, 0)
        assert (totals.confirmed, totals.cancelled) == (2, 2)
        assert [one.at for one in told.entries] == sorted(one.at for one in told.entries)


async def test_what_ended_without_a_booking_and_what_is_still_held(start_core: StartCore) -> None:
    core = await start_core(ttl=timedelta(seconds=1))
    await opened(core)
    await held(core, SOUTH)
    gone = await held(core, NORTH, SOUTH)
    await core.holds(no_offers).release(DEMO, gone.hold_id)
    while (await ledger(core)).totals[0].held:
        await core.repairs[Expirer].run_once()
    kept = await held(core, SOUTH, letter="M", seats=3)
    told = await ledger(core)
    assert steps(told.entries) == [
        ("held", "Y", 1, 0),
        ("held", "Y", 1, 0),
        ("released", "Y", 1, 0),
        ("expired", "Y", 1, 0),
        ("held", "M", 3, 0),
    ]
    assert told.entries[-1].hold_id == kept.hold_id
    (totals,) = told.totals
    assert sums(totals) == (10, 7, 3, 0)
    assert [(one.booking_class, one.held) for one in totals.booking_classes] == [("Y", 0), ("M", 3)]


async def test_changed_limits_stand_between_what_they_changed(core: Core) -> None:
    await opened(core)
    schedule = ScheduleService(core.database, core.availability, utc_now)
    await held(core, SOUTH, seats=4)
    change = CabinChange(CabinName.ECONOMY, (ClassChange("Y", limit=2),))
    await schedule.patch(SOUTH, [change])
    told = await ledger(core)
    assert [(one.kind.value, one.booking_class, one.limit) for one in told.entries] == [
        ("held", "Y", None),
        ("limit_changed", "Y", 2),
        ("limit_changed", "M", 6),
    ]
    (totals,) = told.totals
    assert sums(totals) == (2, -2, 4, 0), "nothing was taken away"


async def test_a_grant_that_was_never_journaled_is_not_listed(core: Core) -> None:
    await opened(core)
    hold = await held(core, SOUTH)

    async def abort(session: WriteSession) -> None:
        await session.execute(
            text("UPDATE hold_journal SET state = 'ABORTED' WHERE hold_id = :hold_id"),
            {"hold_id": hold.hold_id},
        )

    await core.database.run_in_transaction(abort)
    assert (await ledger(core)).entries == []
    assert (await ledger(core)).totals[0].held == 0


async def test_pages_are_the_whole_and_count_on(core: Core) -> None:
    await opened(core)
    bookings, rival = booking_service(core), request((SOUTH, "Y"))
    for _ in range(3):
        hold = await held(core, SOUTH, seats=2)
        await bookings.confirm(DEMO, wanted(hold), key())
        await core.holds(no_offers).place(RIVAL, rival, key())
    whole = (await ledger(core)).entries
    assert [one.sold for one in whole if one.kind is EntryKind.CONFIRMED] == [2, 4, 6]
    assert {one.tenant_id for one in whole} == {DEMO, RIVAL}
    service = LedgerService(core.database)
    for size in (1, 2, 8, 9):
        told: list[LedgerEntry] = []
        page = await service.page(SOUTH, None, size)
        told += page.entries
        while page.after is not None:
            assert len(page.entries) == size
            page = await service.page(SOUTH, page.after, size)
            told += page.entries
        assert told == whole


async def test_a_flight_that_is_not_there(core: Core) -> None:
    with pytest.raises(NotFound):
        await LedgerService(core.database).page(FlightId("flt_none"), None, 50)


async def test_a_flights_holds_are_found_by_their_indexes(core: Core) -> None:
    """Twenty of 40,000."""

    async def fill(session: WriteSession) -> None:
        await session.execute(_MANY)

    await core.database.run_in_transaction(fill)
    async with core.database.reading() as session:
        await session.execute(text("ANALYZE hold_journal"))
    async with core.database.snapshot() as session:
        before = await _rows_read(session)
        await store.gather(session)
        entries = await store.read_entries(session, FlightId("flt_7"), (-1, "", 0, 0), 200)
        found = await store.read_sums(session, FlightId("flt_7"))
        after = await _rows_read(session)
    assert len(entries) == 40
    assert found == {(CabinName.ECONOMY, 1): (0, 0, 0)}
    assert 0 < after - before < 200


async def _rows_read(session: ReadSession) -> int:
    """Of the journal, in this transaction, by whatever way."""
    found = await session.execute(
        text(
            "SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)"
            " FROM pg_stat_xact_user_tables WHERE relname = 'hold_journal'"
        )
    )
    return int(found.scalar_one())
