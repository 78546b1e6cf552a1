"""Redis gets its data back from Postgres, under a new epoch, and loses nobody's hold."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from app.errors import HoldStoreUnavailable
from app.hold.epochs import load_batches, loader
from app.hold.epochs.current import EpochRow
from app.hold.epochs.failure_detector import FailureDetector, Probe
from app.hold.epochs.guardian import PROBE_AGAIN_SECONDS
from app.hold.epochs.loader import Loader
from app.hold.epochs.transition import EXPIRE_MAX
from app.hold.errors import SoldOut
from app.hold.model import Hold, HoldStatus
from app.hold.redis import keys
from app.hold.redis.epochs import RedisEpochs
from app.hold.redis.keys import Keys
from app.hold.redis.loading import RedisLoading
from app.hold.redis.scripts import EpochMoved
from app.hold.service import HoldService
from app.ids import FlightId
from app.inventory.model import CabinName
from app.money import Money
from app.storage.database import WriteSession
from app.wiring import Core, watching
from tests.booking.staging import execute
from tests.builders.flights import flight, put_flights
from tests.builders.holds import DEMO, key, no_offers, request
from tests.fixtures.core import StartCore, sell_from
from tests.fixtures.servers import StartValkey

SOUTH = "flt_south"
FARE = Money(100, "CLP")
TEN_SEATS = flight(flight_id=SOUTH, classes=(("Y", 10, FARE),))


async def place(holds: HoldService, seats: int = 1) -> Hold:
    return (await holds.place(DEMO, request((SOUTH, "Y"), adults=seats), key())).value


async def open_seats(core: Core) -> int:
    (counts,) = await core.availability.counts([(FlightId(SOUTH), CabinName.ECONOMY)])
    assert counts is not None
    return counts.open[0]


async def epochs_of(core: Core) -> set[int | None]:
    """Whose keys are in Redis; None for those that outlive epochs."""
    return {keys.epoch_of(key.decode()) async for key in core.redis.scan_iter()}


async def flush(url: str) -> None:
    client = Redis.from_url(url)
    await client.flushall()
    await client.aclose()


@asynccontextmanager
async def at_work(core: Core) -> AsyncIterator[HoldService]:
    async with watching(core):
        yield core.holds(no_offers)


async def when_open(core: Core) -> None:
    """Waits until a hold store that was lost is open again."""
    async with asyncio.timeout(10):
        while True:
            try:
                return await core.check_hold_store()
            except HoldStoreUnavailable:
                await asyncio.sleep(0.02)


async def test_an_empty_redis_is_loaded_and_every_promise_stands(start_core: StartCore) -> None:
    core = await start_core()
    await sell_from(core, TEN_SEATS)
    async with at_work(core) as holds:
        kept, released = await place(holds, 3), await place(holds, 2)
        await holds.release(DEMO, released.hold_id)
        before = await core.epochs.number()
        await core.redis.flushall()
        with pytest.raises(HoldStoreUnavailable):
            await place(holds)
        await when_open(core)

        assert await core.epochs.number() == before + 1
        assert await open_seats(core) == 7
        assert (await holds.get(DEMO, kept.hold_id)).status is HoldStatus.ACTIVE
        assert (await holds.get(DEMO, kept.hold_id)).expires_at == kept.expires_at
        assert (await holds.get(DEMO, released.hold_id)).status is HoldStatus.RELEASED
        with pytest.raises(SoldOut):
            await place(holds, 8)
        await place(holds, 7)


async def test_a_restarted_redis_with_old_data_is_not_believed(
    start_core: StartCore, start_valkey: StartValkey
) -> None:
    """The same data, but another incarnation: some of it may be missing."""
    server = await start_valkey()
    core = await start_core(redis_url=server.url)
    await sell_from(core, TEN_SEATS)
    async with at_work(core) as holds:
        kept = await place(holds, 3)
        epoch = await core.epochs.number()
        assert await core.redis.delete(f"{keys.TAG}:{epoch}:h:{kept.hold_id}") == 1
        await core.redis.hset(f"{keys.TAG}:{epoch}:f:{SOUTH}", "economy:held", "0")
        await server.stop()
        await server.start()  # on the same port, with the same data
        await when_open(core)
        assert await core.epochs.number() == epoch + 1
        assert await open_seats(core) == 7
        assert (await holds.get(DEMO, kept.hold_id)).status is HoldStatus.ACTIVE


async def test_old_data_is_not_believed_by_those_who_connect_at_once(
    start_core: StartCore, start_valkey: StartValkey
) -> None:
    """While one of them reads the epoch again, the others' new connections are judged all the same."""
    server = await start_valkey()
    core = await start_core(redis_url=server.url)
    await sell_from(core, TEN_SEATS)
    holds = core.holds(no_offers)
    await place(holds, 10)
    epoch = await core.epochs.number()
    await core.redis.hset(f"{keys.TAG}:{epoch}:f:{SOUTH}", "economy:held", "0")
    await server.stop()
    await server.start()

    answers = await asyncio.gather(*(place(holds) for _ in range(20)), return_exceptions=True)

    assert {type(answer) for answer in answers} == {HoldStoreUnavailable}
    await core.guardian.ensure_open()
    with pytest.raises(SoldOut):
        await place(holds)


async def test_two_processes_rebuild_once_and_both_go_on(start_core: StartCore) -> None:
    one, two = await start_core(), await start_core()
    await sell_from(one, TEN_SEATS)
    async with at_work(one) as holds, at_work(two) as others:
        await place(holds, 2)
        before = await one.epochs.number()
        await one.redis.flushall()
        await asyncio.gather(when_open(one), when_open(two))
        assert await one.epochs.number() == await two.epochs.number() == before + 1
        await place(others, 8)
        with pytest.raises(SoldOut):
            await place(holds)


async def test_who_waits_for_another_to_rebuild_looks_seldom(
    start_core: StartCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it is told that nothing is open: the other needs the time."""
    core = await start_core()
    await execute(core, "UPDATE epoch_gate SET rebuilder = 'another', rebuilder_until = 'infinity'")
    await core.redis.flushall()
    probe, times = FailureDetector.probe, list[int]()

    async def counted(self: FailureDetector, row: EpochRow, seconds: float) -> Probe:
        times.append(row.number)
        return await probe(self, row, seconds)

    monkeypatch.setattr(FailureDetector, "probe", counted)
    async with at_work(core):
        for _ in range(100):
            core.epochs.alarm.set()
            await asyncio.sleep(0.01)
    assert 2 <= len(times) <= 1.5 / PROBE_AGAIN_SECONDS


async def test_what_had_run_out_before_the_loss_is_not_revived(start_core: StartCore) -> None:
    core = await start_core(ttl=timedelta(milliseconds=300))
    await sell_from(core, TEN_SEATS)
    holds = core.holds(no_offers)
    first = await place(holds, 10)
    second = None
    while second is None:
        try:
            second = await place(holds, 10)
        except SoldOut:
            await asyncio.sleep(0.01)
    await core.redis.flushall()
    await core.guardian.ensure_open()

    (read_memos,) = (await (await core.epochs.life()).holds.read_memos([first.hold_id])).values()
    assert read_memos.state == "UNKNOWN", (
        "it was cut off at the epoch's end, not loaded beside its heir"
    )
    assert (await holds.get(DEMO, first.hold_id)).status is HoldStatus.EXPIRED


async def test_an_old_primary_that_goes_on_serving_grants_nothing(
    start_core: StartCore, start_valkey: StartValkey
) -> None:
    old, new = await start_valkey(), await start_valkey()
    behind = await start_core(redis_url=old.url)
    await sell_from(behind, TEN_SEATS)
    left_behind = behind.holds(no_offers)
    await place(left_behind, 1)

    ahead = await start_core(redis_url=new.url)  # opens a new epoch on the new server
    moved_on = ahead.holds(no_offers)
    await place(moved_on, 9)

    with pytest.raises(HoldStoreUnavailable):
        await place(left_behind, 1)
    assert await open_seats(ahead) == 0


@pytest.mark.parametrize("is_there", [False, True], ids=["number lost", "number there"])
async def test_keys_of_ended_epochs_are_let_go(
    start_core: StartCore, monkeypatch: pytest.MonkeyPatch, is_there: bool
) -> None:
    """Once: after the next is open, or before it is loaded where an attempt may have failed before."""
    core = await start_core()
    discard, times = RedisEpochs.delete_keys_before, list[int]()

    async def counted(self: RedisEpochs, epoch: int) -> None:
        times.append(epoch)
        await discard(self, epoch)

    monkeypatch.setattr(RedisEpochs, "delete_keys_before", counted)
    await sell_from(core, TEN_SEATS)
    await place(core.holds(no_offers))
    if not is_there:
        await core.redis.delete(keys.EPOCH)
    await core.guardian.start_over()
    async with asyncio.timeout(10):
        while True:
            if await epochs_of(core) == {None, await core.epochs.number()}:
                break
            await asyncio.sleep(0.02)
    assert times == [await core.epochs.number()]


async def test_what_attempts_leave_behind_does_not_add_up(start_core: StartCore) -> None:
    """Each began where the one before had failed: there is one life of the data, not one an attempt."""
    core = await start_core()
    await sell_from(core, TEN_SEATS)
    await place(core.holds(no_offers))
    ended = await core.epochs.number()
    for attempt in range(1, 4):
        assert await core.epochs_in_redis.life(ended + attempt).loading.begin()
        await core.redis.hset(Keys(ended + attempt).flight(FlightId(SOUTH)), "version", "1")
    await core.redis.hset(f"{keys.TAG}:{ended}:f:gone", "version", "1")

    async def bump(session: WriteSession) -> None:
        await session.execute(text("UPDATE redis_epoch SET epoch = epoch + 3"))

    await core.database.run_in_transaction(bump)
    claims: list[set[int | None]] = []
    begin = Loader.load

    async def load(self: Loader) -> None:
        claims.append(await epochs_of(core))
        await begin(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loader, "load", load)
        await core.guardian.ensure_open()
    assert claims == [{None}], "all was let go before more was loaded"


async def test_a_rebuilder_that_was_overtaken_lets_go_of_nothing_newer(
    start_core: StartCore,
) -> None:
    core = await start_core()
    await sell_from(core, TEN_SEATS)
    await place(core.holds(no_offers), 10)
    overtaken = await core.epochs.number()
    await core.redis.delete(keys.EPOCH)
    await core.guardian.ensure_open()

    await core.epochs_in_redis.delete_keys_before(overtaken)

    assert await core.epochs.number() > overtaken
    assert await open_seats(core) == 0
    with pytest.raises(SoldOut):
        await place(core.holds(no_offers))


async def test_a_rebuilder_that_was_overtaken_opens_nothing(start_core: StartCore) -> None:
    core = await start_core()
    await sell_from(core, TEN_SEATS)
    epoch = await core.epochs.number()
    assert not await core.epochs_in_redis.life(epoch).loading.begin(), "claimed before"
    assert await core.epochs_in_redis.life(epoch + 5).loading.begin()
    assert not await core.epochs_in_redis.life(epoch + 4).loading.begin()
    with pytest.raises(EpochMoved):
        await core.epochs_in_redis.life(epoch + 4).loading.open(TEN_SEATS.departing_at.utc)


async def test_what_ran_out_is_ended_page_by_page(start_core: StartCore) -> None:
    """More than one statement looks at; what was alive among it stays, and what was released too."""
    core = await start_core()
    await sell_from(core, TEN_SEATS)
    kept = await place(core.holds(no_offers))

    async def copies(session: WriteSession) -> None:
        await session.execute(
            text(
                """
                INSERT INTO hold_journal (
                    hold_id, tenant_id, idempotency_key, attempt, request_hash, lines, segments,
                    passengers, price, epoch, granted_at, expires_at, first_expires_at, state)
                SELECT 'hold_' || number, tenant_id, number, 1, request_hash, lines, segments,
                    passengers, price, epoch, granted_at - interval '1 hour',
                    granted_at - interval '1 minute', granted_at - interval '1 minute',
                    CASE WHEN number % 10 = 0 THEN 'RELEASED' ELSE 'HELD' END
                FROM hold_journal, generate_series(1, :count) AS number
                """
            ),
            {"count": EXPIRE_MAX * 2 + 100},
        )

    await core.database.run_in_transaction(copies)
    await core.redis.flushall()
    await core.guardian.ensure_open()
    async with core.database.reading() as session:
        counted = await session.execute(
            text("SELECT state, count(*) FROM hold_journal GROUP BY state")
        )
        states = dict(counted.tuples().all())
    assert states == {"HELD": 1, "EXPIRED": 3690, "RELEASED": 410}
    assert (await core.holds(no_offers).get(DEMO, kept.hold_id)).status is HoldStatus.ACTIVE
    assert await open_seats(core) == 9


async def test_what_is_loaded_is_what_was_lost(
    start_core: StartCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Field by field, as the scripts had written it, however many pages and parts it takes."""
    monkeypatch.setattr(loader, "ROWS_MAX", 2)
    monkeypatch.setattr(loader, "SUMMED_MAX", 3)
    monkeypatch.setattr(load_batches, "ARGUMENTS_MAX", 8)
    monkeypatch.setattr(load_batches, "HOLDS_MAX", 2)
    core = await start_core()
    on_sale = [
        flight(flight_id=f"flt_{n}", classes=(("Y", 40, FARE), ("B", 20, FARE))) for n in range(5)
    ]
    await sell_from(core, *on_sale)
    holds = core.holds(no_offers)
    placed = [
        (await holds.place(DEMO, request(*segments, adults=adults), key())).value
        for segments in ([("flt_0", "Y")], [("flt_1", "B"), ("flt_3", "Y")], [("flt_1", "B")])
        for adults in (1, 2, 1)
    ]
    await holds.extend(DEMO, placed[4].hold_id, None)
    before = await data_of(core)
    assert len(before) == 9 + 5 + 3 + 1, "memos, flights, their expiries, and who is due"

    await core.redis.flushall()
    await core.guardian.ensure_open()

    assert await data_of(core) == before


async def test_only_what_changed_is_written_twice(
    start_core: StartCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flight that is patched while Redis is loaded, and one that comes between two others."""
    monkeypatch.setattr(loader, "ROWS_MAX", 2)
    core = await start_core()
    await sell_from(core, *(flight(flight_id=f"flt_{n}") for n in range(1, 8)))
    written: list[list[str]] = []
    load, load_all = RedisLoading.load_rows, Loader.load

    async def spied(self: RedisLoading, packed: str) -> None:
        written.append([row.partition("|")[0] for row in packed.splitlines()])
        await load(self, packed)

    async def and_then(self: Loader) -> None:
        await load_all(self)
        written.append([])
        await put_flights(core.database, flight(flight_id="flt_25"))
        await execute(core, "UPDATE inventory SET version = 7 WHERE flight_id = 'flt_6'")

    monkeypatch.setattr(RedisLoading, "load_rows", spied)
    monkeypatch.setattr(Loader, "load", and_then)
    await core.redis.flushall()
    await core.guardian.ensure_open()

    assert written[:4] == [[f"flt_{n}", f"flt_{n + 1}"] for n in (1, 3, 5)] + [["flt_7"]]
    assert written[4:] == [[], ["flt_25", "flt_3"], ["flt_4"], ["flt_5", "flt_6"]]
    names = (await core.epochs.life()).keys
    versions = [
        await core.redis.hget(names.flight(FlightId(f"flt_{n}")), "economy:version")
        for n in (25, 6)
    ]
    assert versions == [b"1", b"7"]


async def data_of(core: Core) -> dict[str, object]:
    """What the present epoch's keys hold, but for marks, and holds whose rows nobody has looked for."""
    names = (await core.epochs.life()).keys
    found: dict[str, object] = {}
    async for raw in core.redis.scan_iter(match=f"{names.prefix}*"):
        key = raw.decode()
        if key in (names.fresh, names.parts) or key.startswith(names.prefix + "granted:"):
            continue
        is_sorted = await core.redis.type(key) == b"zset"
        found[key.removeprefix(names.prefix)] = (
            await core.redis.zrange(key, 0, -1, withscores=True)
            if is_sorted
            else await core.redis.hgetall(key)
        )
    return found
