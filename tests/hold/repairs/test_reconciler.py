"""Redis is damaged by hand in each way; it is seen in seats and words, and mended under live traffic."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from app.errors import HoldStoreUnavailable
from app.hold.errors import SoldOut
from app.hold.model import Hold, HoldStatus
from app.hold.redis.keys import Keys
from app.hold.redis.life import Life
from app.hold.repairs import reconciler
from app.hold.repairs.reconciler import Kind, Reconciler, drift_seats
from app.hold.service import HoldService
from app.ids import FlightId, HoldId
from app.inventory.model import CabinCounts, CabinName
from app.money import Money
from app.wiring import Core, watching
from tests.builders.bookings import booking_service, wanted
from tests.builders.flights import flight
from tests.builders.holds import DEMO, key, no_offers, request
from tests.fixtures.core import sell_from

SOUTH = FlightId("flt_south")
NOW = timedelta(0)
TWENTY_SEATS = flight(flight_id=SOUTH, classes=(("Y", 20, Money(100, "CLP")),))

Damage = Callable[[Redis, Keys, HoldId], Awaitable[object]]


@pytest.fixture
async def holds(core: Core) -> HoldService:
    await sell_from(core, TWENTY_SEATS)
    return core.holds(no_offers)


async def place(holds: HoldService, seats: int = 1) -> Hold:
    return (await holds.place(DEMO, request((SOUTH, "Y"), adults=seats), key())).value


async def counts(core: Core) -> CabinCounts:
    (found,) = await core.availability.counts([(SOUTH, CabinName.ECONOMY)])
    assert found is not None
    return found


async def too_little_held(client: Redis, names: Keys, hold_id: HoldId) -> None:
    await client.hset(names.flight(SOUTH), "economy:held", "1")


async def too_much_held(client: Redis, names: Keys, hold_id: HoldId) -> None:
    await client.hset(names.flight(SOUTH), "economy:held", "9")


async def memo_lost(client: Redis, names: Keys, hold_id: HoldId) -> None:
    await client.delete(names.memo(hold_id))


async def out_of_sight(client: Redis, names: Keys, hold_id: HoldId) -> None:
    await client.zrem(names.expiries(SOUTH), hold_id)


async def sold_changed(client: Redis, names: Keys, hold_id: HoldId) -> None:
    await client.hset(names.flight(SOUTH), "economy:sold", "5")


async def limit_changed(client: Redis, names: Keys, hold_id: HoldId) -> None:
    await client.hset(names.flight(SOUTH), "economy:limits", "30")


async def from_the_future(client: Redis, names: Keys, hold_id: HoldId) -> None:
    await client.hset(names.flight(SOUTH), mapping={"economy:version": "99", "economy:sold": "7"})


async def stray(client: Redis, names: Keys, hold_id: HoldId) -> None:
    fields: dict[bytes | bytearray | memoryview | str | int | float, Any] = {
        "state": "HELD",
        "lines": f"{SOUTH}|economy|1|4",
        "expires_at": "9999999999000000",
        "granted_at": "1",
        "fence": "1",
        "request": "r",
    }
    await client.hset(names.memo(HoldId("hold_stray")), mapping=fields)
    await client.zadd(names.expiries(SOUTH), {"hold_stray": 9999999999000000})
    await client.hincrby(names.flight(SOUTH), "economy:held", 4)


async def tombstone_forged(client: Redis, names: Keys, hold_id: HoldId) -> None:
    await client.hset(names.memo(hold_id), "state", "RELEASED")
    await client.pexpire(names.memo(hold_id), 600_000)


@pytest.mark.parametrize(
    ("damage", "kind", "seats", "word", "with_new_epoch"),
    [
        (too_little_held, Kind.HELD, 4, "Redis counts 1 held", False),
        (too_much_held, Kind.HELD, 4, "its live holds have 5", False),
        (memo_lost, Kind.HELD, 3, "missing in Redis", False),
        (out_of_sight, Kind.HELD, 3, "will find it", False),
        (sold_changed, Kind.SOLD, 5, "sold is 0 in PostgreSQL (version 1) and 5 in Redis", False),
        (limit_changed, Kind.LIMITS, 10, "limits is 20 in PostgreSQL", False),
        (stray, Kind.HELD, 4, "PostgreSQL does not have it", False),
        (from_the_future, Kind.SOLD, 7, "7 in Redis (version 99)", True),
        (tombstone_forged, Kind.HELD, 3, "is RELEASED in Redis", True),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
async def test_damage_is_shown_in_seats_and_words_and_mended(
    core: Core, holds: HoldService, damage: Damage, kind: Kind, seats: int, word: str,
    with_new_epoch: bool,
) -> None:  # fmt: skip
    damaged, other = await place(holds, 3), await place(holds, 2)
    epoch = await core.epochs.number()
    assert await core.repairs[Reconciler].compare(NOW) == []
    await damage(core.redis, Keys(epoch), damaged.hold_id)

    drifts = await core.repairs[Reconciler].compare(NOW)
    assert drift_seats(drifts) == {**dict.fromkeys(Kind, 0), kind: seats}
    assert {drift.flight_id for drift in drifts} == {SOUTH}
    assert any(word in drift.description for drift in drifts), drifts
    await core.repairs[Reconciler].run_once(NOW)
    assert REGISTRY.get_sample_value("holdfast_inventory_drift_seats", {"kind": kind}) == seats

    repaired = await core.repair.correct(drifts, NOW)
    assert (repaired.remaining, repaired.with_new_epoch) == (0, with_new_epoch)
    assert (await core.epochs.number() > epoch) is with_new_epoch
    now = await counts(core)
    assert (now.limits, now.sold, now.held) == ((20,), (0,), (5,))
    for hold in (damaged, other):
        assert (await holds.get(DEMO, hold.hold_id)).status is HoldStatus.ACTIVE
        await booking_service(core).confirm(DEMO, wanted(hold), key())
    await core.background.drain(5)
    assert (await counts(core)).sold == (5,)
    assert await core.repairs[Reconciler].compare(NOW) == []


async def test_what_another_process_found_is_shown_too(core: Core, holds: HoldService) -> None:
    epoch = await core.epochs.number()
    await core.repairs[Reconciler].run_once(NOW)  # takes the lease
    await core.redis.set(Keys(epoch).drift, "1,2,3")
    await core.repairs[Reconciler].run_once(NOW)
    shown = [
        REGISTRY.get_sample_value("holdfast_inventory_drift_seats", {"kind": kind}) for kind in Kind
    ]
    assert shown == [1, 2, 3]
    await core.redis.set(Keys(epoch).drift, "0,0,0")
    await core.repairs[Reconciler].run_once(NOW)


async def test_repair_under_load_disturbs_nobody(core: Core, holds: HoldService) -> None:
    """Holds come and go, and are booked, while the flight is damaged and mended again and again."""
    bookings, stop = booking_service(core), asyncio.Event()
    acknowledged: list[Hold] = []

    async def client() -> None:
        while not stop.is_set():
            try:
                hold = await place(holds)
            except (SoldOut, HoldStoreUnavailable):  # a busy machine may be late with an answer
                await asyncio.sleep(0.01)
                continue
            if len(acknowledged) < 10:
                acknowledged.append(hold)
                await book(hold)
            else:
                await holds.release(DEMO, hold.hold_id)

    async def book(hold: Hold) -> None:
        same = key()
        while True:
            with suppress(HoldStoreUnavailable):
                await bookings.confirm(DEMO, wanted(hold), same)
                return

    async with watching(core):
        names = Keys(await core.epochs.number())
        kept = await place(holds, 2)
        clients = [asyncio.create_task(client()) for _ in range(8)]
        for damage in (too_much_held, out_of_sight, memo_lost, too_much_held):
            await damage(core.redis, names, kept.hold_id)
            drifts = await core.repairs[Reconciler].compare(timedelta(seconds=0.3))
            assert drifts
            await core.repair._correct(await core.epochs.life(), drifts)
        stop.set()
        await asyncio.gather(*clients)
        await core.background.drain(5)
        assert await core.repairs[Reconciler].compare(timedelta(seconds=1)) == []
        assert (await holds.get(DEMO, kept.hold_id)).status is HoldStatus.ACTIVE
        now = await counts(core)
        assert (now.sold, now.held) == ((10,), (2,))
        assert names.prefix == Keys(await core.epochs.number()).prefix, "by no new epoch"


async def five_flights(core: Core) -> list[FlightId]:
    ids = [FlightId(f"flt_{number}") for number in range(5)]
    await sell_from(
        core, *(flight(flight_id=id_, classes=(("Y", 20, Money(1, "CLP")),)) for id_ in ids)
    )
    await core.availability.counts([(id_, CabinName.ECONOMY) for id_ in ids])
    return ids


async def test_who_reads_among_millions_keeps_the_turn_and_rests(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One flight a part, each followed by a rest; together they take several times the lease."""
    for name, value in (("PAGE", 1), ("LEASE_SECONDS", 0.4), ("REST_SECONDS_MAX", 0.2)):
        monkeypatch.setattr(reconciler, name, value)
    monkeypatch.setattr(reconciler, "RESTS_PER_PART", 10_000)
    ids, life = await five_flights(core), await core.epochs.life()
    await core.redis.hset(life.keys.flight(ids[-1]), "economy:sold", "5")

    async with asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(core.repairs[Reconciler].run_once(NOW))
        for _ in range(3):
            await asyncio.sleep(0.25)
            assert not await life.inspection.take_comparison_lease(1)
        assert not reading.done()
    assert REGISTRY.get_sample_value("holdfast_inventory_drift_seats", {"kind": Kind.SOLD}) == 5


async def test_a_reading_ends_where_it_has_found_enough(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler, "PAGE", 1)
    monkeypatch.setattr(reconciler, "SUSPECTS_MAX", 2)
    ids, epoch = await five_flights(core), await core.epochs.number()
    for id_ in ids[1:]:
        await core.redis.hset(Keys(epoch).flight(id_), "economy:sold", "5")

    parts: list[float] = []

    async def count(_: Life, seconds: float) -> None:
        parts.append(seconds)

    assert {drift.flight_id for drift in await core.repairs[Reconciler].compare(NOW, count)} == set(
        ids[1:3]
    )
    assert len(parts) == 2, "the third part was enough"
