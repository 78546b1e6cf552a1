"""What Postgres knows and Redis did not hear of reaches it, by version, whoever ended in the middle."""

from app.hold.redis.keys import Keys
from app.hold.repairs.inventory_sync import InventorySync
from app.ids import FlightId, TenantId
from app.inventory import store as inventory_store
from app.inventory.model import CabinName, SeatLine
from app.outbox import store as outbox
from app.outbox.model import EventType, Fact
from app.storage.database import WriteSession
from app.wiring import Core
from tests.builders.flights import DEPARTING, flight, put_flights
from tests.fixtures.core import sell_from

SOUTH = FlightId("flt_south")
LINE = SeatLine(SOUTH, CabinName.ECONOMY, 1, 2)


async def sold(core: Core) -> int:
    (counts,) = await core.availability.counts([(SOUTH, CabinName.ECONOMY)])
    assert counts is not None
    return counts.sold[0]


def fact(sequence: int, kind: EventType) -> Fact:
    return Fact(
        type=kind,
        version=1,
        tenant_id=TenantId("demo"),
        aggregate_type="booking",
        aggregate_id="bkg_1",
        sequence=sequence,
        occurred_at=DEPARTING.astimezone(),
        data={"segments": [{"flight_id": SOUTH, "booking_class": "Y", "seats": 2}]},
    )


async def test_a_change_that_never_reached_redis_is_brought_there(core: Core) -> None:
    await sell_from(core, flight(flight_id=SOUTH))

    async def sell(session: WriteSession) -> None:
        await inventory_store.add_sold(session, [LINE])
        await outbox.append(session, fact(1, EventType.BOOKING_CONFIRMED))

    async def cancel(session: WriteSession) -> None:
        await inventory_store.subtract_sold(session, [LINE])
        await outbox.append(session, fact(2, EventType.BOOKING_CANCELLED))

    for work, expected in ((sell, 2), (cancel, 0)):
        before = await sold(core)
        await core.database.run_in_transaction(work)  # and then the process ended
        assert await core.repairs[InventorySync].run_once() == 0, "no place in the order yet"
        await core.database.run_in_transaction(lambda session: outbox.number(session, 10))
        assert await sold(core) == before
        assert await core.repairs[InventorySync].run_once() == 1
        assert await sold(core) == expected
        assert await core.repairs[InventorySync].run_once() == 0


async def test_what_was_followed_in_another_epoch_is_followed_again(core: Core) -> None:
    """It may have gone to an old primary, when the rebuild had read the rows already."""
    await sell_from(core, flight(flight_id=SOUTH))

    async def sell(session: WriteSession) -> None:
        await inventory_store.add_sold(session, [LINE])
        await outbox.append(session, fact(1, EventType.BOOKING_CONFIRMED))

    await core.database.run_in_transaction(sell)
    await core.database.run_in_transaction(lambda session: outbox.number(session, 10))
    assert await core.repairs[InventorySync].run_once() == 1
    await core.redis.flushdb()
    await core.guardian.ensure_open()
    names = Keys(await core.epochs.number())
    for field in ("economy:version", "economy:sold"):
        await core.redis.hset(names.flight(SOUTH), field, "0")
    assert await sold(core) == 0
    assert await core.repairs[InventorySync].run_once() == 1
    assert await sold(core) == 2
    assert await core.repairs[InventorySync].run_once() == 0


async def test_a_flight_that_never_reached_redis_is_found_by_whoever_asks(core: Core) -> None:
    await put_flights(core.database, flight(flight_id=SOUTH))  # and then the process ended
    assert await sold(core) == 0
    assert await core.availability.counts([(FlightId("flt_nowhere"), CabinName.ECONOMY)]) == [None]
