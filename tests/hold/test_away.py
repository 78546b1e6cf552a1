"""While no Redis answers, what was promised can be booked; when one answers again, nothing is lost or doubled."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from app.booking.service import BookingService
from app.dev.data_dir import free_port
from app.dev.valkey import Valkey
from app.errors import HoldStoreUnavailable
from app.hold.epochs import guardian
from app.hold.errors import SoldOut
from app.hold.model import Hold, HoldStatus
from app.hold.service import HoldService
from app.ids import FlightId
from app.inventory.model import CabinCounts, CabinName
from app.money import Money
from app.storage.database import WriteSession
from app.wiring import Core, build_core, watching
from tests.builders.bookings import booking_service, wanted
from tests.builders.flights import flight
from tests.builders.holds import DEMO, key, no_offers, request
from tests.fixtures.core import StartCore, sell_from
from tests.fixtures.servers import StartValkey

SOUTH = "flt_south"
TEN_SEATS = flight(flight_id=SOUTH, classes=(("Y", 10, Money(100, "CLP")),))
DEADLINE_SECONDS = 6.0  # of a request

TakeAway = Callable[[Valkey], Awaitable[None]]


async def killed(server: Valkey) -> None:
    assert server.child is not None
    await server.child.kill()


async def emptied(server: Valkey) -> None:
    shutil.rmtree(Path(server._folder))
    await server.start()


async def frozen(server: Valkey) -> None:
    assert server.child is not None
    os.kill(server.child.process.pid, signal.SIGSTOP)


async def thawed(server: Valkey) -> None:
    assert server.child is not None
    os.kill(server.child.process.pid, signal.SIGCONT)


@asynccontextmanager
async def at_work(core: Core) -> AsyncIterator[tuple[HoldService, BookingService]]:
    async with watching(core):
        yield core.holds(no_offers), booking_service(core)


async def place(holds: HoldService, seats: int = 1) -> Hold:
    return (await holds.place(DEMO, request((SOUTH, "Y"), adults=seats), key())).value


async def book(bookings: BookingService, hold: Hold) -> None:
    await bookings.confirm(DEMO, wanted(hold), key())


async def counts(core: Core) -> CabinCounts:
    (found,) = await core.availability.counts([(FlightId(SOUTH), CabinName.ECONOMY)])
    assert found is not None
    return found


async def when_open(core: Core) -> None:
    async with asyncio.timeout(15):
        while True:
            try:
                return await core.check_hold_store()
            except HoldStoreUnavailable:
                await asyncio.sleep(0.02)


async def when_ended(core: Core) -> None:
    async with asyncio.timeout(15):
        while True:
            if not (await core.epochs.read()).is_open:
                return
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("takes_away", "brings_back"),
    [(killed, emptied), (killed, Valkey.start), (frozen, thawed)],
    ids=["killed, back empty", "killed, back with old data", "frozen, back as it was"],
)
async def test_bookings_go_on_without_redis_and_nothing_is_lost_or_doubled(
    start_core: StartCore, start_valkey: StartValkey, takes_away: TakeAway, brings_back: TakeAway
) -> None:
    server = await start_valkey()
    core = await start_core(redis_url=server.url)
    await sell_from(core, TEN_SEATS)
    async with at_work(core) as (holds, bookings):
        first, second, kept = await place(holds, 2), await place(holds, 3), await place(holds)
        await takes_away(server)

        async with asyncio.timeout(DEADLINE_SECONDS):  # asked before anybody knows
            await book(bookings, first)
        async with asyncio.timeout(1):
            with pytest.raises(HoldStoreUnavailable) as refused:
                await place(holds)
            await book(bookings, second)
        assert refused.value.retry_after_seconds is not None

        await brings_back(server)
        await when_open(core)
        now = await counts(core)
        assert (now.sold, now.held, now.open) == ((5,), (1,), (4,))
        assert (await holds.get(DEMO, kept.hold_id)).status is HoldStatus.ACTIVE
        await place(holds, 4)
        with pytest.raises(SoldOut):
            await place(holds)
        await book(bookings, kept)
        await core.background.drain(5)
        assert (await counts(core)).sold == (6,)


async def test_a_hold_whose_time_passes_meanwhile_goes_to_nobody_until_redis_is_back(
    start_core: StartCore, start_valkey: StartValkey
) -> None:
    """Nothing expires while nobody can be given the seat: who comes late may still book."""
    server = await start_valkey()
    core = await start_core(redis_url=server.url)
    await sell_from(core, TEN_SEATS)
    async with at_work(core) as (holds, bookings):
        hold, other = await place(holds, 9), await place(holds)
        await killed(server)
        await when_ended(core)
        for of in (hold, other):
            await _let_it_run_out(core, of)
        await book(bookings, other)
        await server.start()
        await when_open(core)
        await place(holds, 9)
        assert (await holds.get(DEMO, hold.hold_id)).status is HoldStatus.EXPIRED
        assert (await holds.get(DEMO, other.hold_id)).status is HoldStatus.BOOKED


async def test_a_process_that_is_cut_off_alone_ends_nothing(
    core: Core, empty_database: str
) -> None:
    alone = build_core(
        empty_database, f"redis://127.0.0.1:{free_port()}/0", hold_ttl=timedelta(minutes=10)
    )
    before, suspicions = await core.epochs.number(), 0
    until = asyncio.get_running_loop().time() + guardian.UNREACHABLE_SECONDS + 1
    while asyncio.get_running_loop().time() < until:
        with pytest.raises(HoldStoreUnavailable):
            await alone.guardian.ensure_open()
        suspicions += (await core.epochs.read()).is_suspected
        await asyncio.sleep(0.2)
        await core.guardian.ensure_open()
        assert not (await core.epochs.read()).is_suspected
    assert suspicions > 1
    assert (await core.epochs.read()).number == before
    await alone.close()


async def test_one_that_was_demoted_under_its_connections_serves_no_hold(
    start_core: StartCore, start_valkey: StartValkey
) -> None:
    server = await start_valkey()
    core = await start_core(redis_url=server.url)
    await sell_from(core, TEN_SEATS)
    keeper = Redis.from_url(server.url)
    async with at_work(core) as (holds, bookings):
        hold = await place(holds, 4)
        await keeper.execute_command("REPLICAOF", "127.0.0.1", "1")  # type: ignore[no-untyped-call]
        await when_ended(core)
        with pytest.raises(HoldStoreUnavailable):
            await place(holds)
        await book(bookings, hold)
        await keeper.execute_command("REPLICAOF", "NO", "ONE")  # type: ignore[no-untyped-call]
        await when_open(core)
        assert (await counts(core)).sold == (4,)
        await place(holds, 6)
    await keeper.aclose()


@pytest.mark.parametrize("granted_since", [0, 1], ids=["nobody noticed", "a grant came first"])
async def test_old_data_under_living_connections_is_noticed_and_not_believed(
    core: Core, empty_redis: str, granted_since: int
) -> None:
    await sell_from(core, TEN_SEATS)
    holds = core.holds(no_offers)
    await place(holds, 4)
    keeper = Redis.from_url(empty_redis)
    old = await everything(keeper)
    for _ in range(3):
        await place(holds, 2)
    before = await core.epochs.number()
    await core.guardian.ensure_open()
    assert await core.epochs.number() == before

    await put_back(keeper, old)
    for _ in range(granted_since):
        await place(holds)  # a seat too many, in this second
    await core.guardian.ensure_open()

    assert await core.epochs.number() == before + 1
    with pytest.raises(SoldOut):
        await place(holds)
    await keeper.aclose()


async def everything(client: Redis) -> dict[bytes, bytes]:
    return {key: await client.dump(key) or b"" async for key in client.scan_iter()}


async def put_back(client: Redis, data: dict[bytes, bytes]) -> None:
    async with client.pipeline(transaction=True) as together:
        together.flushdb()
        for name, value in data.items():
            together.restore(name, 0, value)
        await together.execute()


async def _let_it_run_out(core: Core, hold: Hold) -> None:
    async def earlier(session: WriteSession) -> None:
        await session.execute(
            text(
                "UPDATE hold_journal SET expires_at = clock_timestamp() - interval '1 second'"
                " WHERE hold_id = :id"
            ),
            {"id": hold.hold_id},
        )

    await core.database.run_in_transaction(earlier)
