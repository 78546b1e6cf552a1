"""The scripts on every Redis-compatible server at hand, and their headers against their callers."""

import asyncio
import random
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from redis.asyncio import Redis

from app.errors import HoldStoreUnavailable
from app.hold.model import (
    Extended,
    Full,
    Granted,
    JournalState,
    MemoState,
    Pinned,
    Remembered,
    Stale,
    microseconds,
)
from app.hold.redis import keys
from app.hold.redis import scripts as scripts_module
from app.hold.redis.epochs import RedisEpochs
from app.hold.redis.keys import Keys
from app.hold.redis.life import Life
from app.hold.redis.scripts import EpochMoved, Scripts
from app.hold.redis.seats import RedisSeats, TakenSeats
from app.ids import FlightId, HoldId
from app.inventory.model import CabinName, InventoryRow, SeatLine, open_seats
from app.storage.lua import Argument, Script
from app.storage.redis import connect
from tests.fixtures.servers import StartValkey, redis_servers

LUA = Path(scripts_module.__file__).parent / "lua"
EPOCH = 7
FLIGHT, OTHER = FlightId("flt_1"), FlightId("flt_2")
ROWS = "flt_1|economy|1|9|0|1\nflt_2|first|1|4,3|2,0|1"
UNTIL = 4_000_000_000_000_000
MEMO = f"hold_a flt_1|economy|1|2 {UNTIL} 1 1 0 r"
WAITS: list[Argument] = [FLIGHT, "economy", 1, 2, UNTIL, 2, UNTIL, "hold_a"]


def row(
    limits: tuple[int, ...],
    *,
    flight_id: FlightId = FLIGHT,
    sold: tuple[int, ...] | None = None,
    version: int = 1,
) -> InventoryRow:
    return InventoryRow(
        flight_id, CabinName.ECONOMY, limits, sold or (0,) * len(limits), version, 1
    )


def line(position: int, seats: int, flight_id: FlightId = FLIGHT) -> SeatLine:
    return SeatLine(flight_id, CabinName.ECONOMY, position, seats)


@pytest.fixture(params=redis_servers(), ids=lambda path: "-".join(path.parts[-3:]))
async def server(request: pytest.FixtureRequest, start_valkey: StartValkey) -> str:
    """Each Redis-compatible server of this machine: Valkey 9 always, Redis 6.2 and 7 where they are."""
    return (await start_valkey(binary=request.param)).url


@pytest.fixture
async def client(server: str) -> AsyncIterator[Redis]:
    client = connect(server)
    yield client
    await client.aclose()


async def opened(
    client: Redis, *rows: InventoryRow, ttl: timedelta = timedelta(minutes=10)
) -> Life:
    life = RedisEpochs(Scripts(client), ttl).life(EPOCH)
    await client.set(keys.EPOCH, EPOCH)
    await life.seats.apply(rows)
    return life


async def held(client: Redis, flight_id: FlightId = FLIGHT) -> tuple[int, ...]:
    (counts,) = await RedisSeats(Scripts(client), Keys(EPOCH)).counts(
        [(flight_id, CabinName.ECONOMY)]
    )
    assert counts is not None
    return counts.held


async def place(life: Life, name: str, *lines: SeatLine) -> object:
    versions = {line.flight_id: 1 for line in lines}
    return await life.holds.place(HoldId(name), HoldId(name), "r", lines, versions)


async def test_the_arithmetic_is_the_same_in_lua(client: Redis) -> None:
    """Random cabins, filled until nothing fits: at each step the script and the pure function agree."""
    chance = random.Random(11)
    for case in range(60):
        flight_id = FlightId(f"flt_case{case}")
        limits = tuple(chance.randint(0, 9) for _ in range(chance.randint(1, 8)))
        sold = tuple(chance.randint(0, 2) for _ in limits)
        life = await opened(client, row(limits, sold=sold, flight_id=flight_id))
        taken = list(sold)
        for step in range(12):
            position, seats = chance.randint(1, len(limits)), chance.randint(1, 3)
            outcome = await place(life, f"hold_{case}_{step}", line(position, seats, flight_id))
            if open_seats(limits, taken)[position - 1] >= seats:
                assert isinstance(outcome, Granted), (limits, taken, position, seats)
                taken[position - 1] += seats
            else:
                assert isinstance(outcome, Full), (limits, taken, position, seats)
                assert outcome.open_seats == (open_seats(limits, taken)[position - 1],)
        assert [s + h for s, h in zip(sold, await held(client, flight_id), strict=True)] == taken


async def test_all_lines_or_none(client: Redis) -> None:
    life = await opened(client, row((5,)), row((1,), flight_id=OTHER))
    for lines in ((line(1, 2), line(1, 2, OTHER)), (line(1, 2, OTHER), line(1, 2))):
        assert isinstance(await place(life, "hold_a", *lines), Full)
        assert await held(client) == await held(client, OTHER) == (0,)
    assert isinstance(await place(life, "hold_b", line(1, 1), line(1, 1, OTHER)), Granted)
    assert await held(client) == await held(client, OTHER) == (1,)


async def test_two_lines_in_one_cabin_are_counted_together(client: Redis) -> None:
    life = await opened(client, row((5, 3)))
    assert isinstance(await place(life, "hold_a", line(1, 3), line(2, 3)), Full)
    assert isinstance(await place(life, "hold_b", line(1, 2), line(2, 3)), Granted)
    assert await held(client) == (2, 3)


async def test_asked_again_it_says_what_became_of_it(client: Redis) -> None:
    life = await opened(client, row((5,)))
    granted = await place(life, "hold_a", line(1, 2))
    assert isinstance(granted, Granted)
    again = await place(life, "hold_a", line(1, 2))
    assert again == Remembered(MemoState.HELD, granted.expires_at, granted.granted_at, "r")
    assert await held(client) == (2,)
    await life.holds.end(HoldId("hold_a"), JournalState.RELEASED)
    after = await place(life, "hold_a", line(1, 2))
    assert isinstance(after, Remembered)
    assert after.state is MemoState.RELEASED
    assert await held(client) == (0,)


async def test_a_release_before_its_hold_leaves_a_tombstone(client: Redis) -> None:
    life = await opened(client, row((5,)))
    await life.holds.end(HoldId("hold_a"), JournalState.RELEASED)
    late = await place(life, "hold_a", line(1, 2))
    assert isinstance(late, Remembered)
    assert await held(client) == (0,)


async def test_what_ran_out_is_taken_back_by_whoever_asks(client: Redis) -> None:
    life = await opened(
        client, row((2,)), row((2,), flight_id=OTHER), ttl=timedelta(milliseconds=30)
    )
    assert isinstance(await place(life, "hold_a", line(1, 2), line(1, 2, OTHER)), Granted)
    outcome = await place(life, "hold_b", line(1, 2))
    while isinstance(outcome, Full):
        assert outcome.next_release_at is not None
        outcome = await place(life, "hold_b", line(1, 2))
    assert isinstance(outcome, Granted)
    assert await held(client) == (2,)
    assert await held(client, OTHER) == (0,), "the other flight's seats came back with it"
    assert await life.holds.unrecorded_expiries() == ["hold_a"]


async def test_no_clock_runs_behind_a_hold_that_was_taken_back(client: Redis) -> None:
    """Else the next grant may look older than that hold's end, and a rebuild, which goes by the latest
    grant, revives it.
    """
    life = await opened(client, row((1,)), ttl=timedelta(milliseconds=20))
    ways: dict[str, Callable[[], Awaitable[object]]] = {
        "hold_a": lambda: life.holds.pin(HoldId("hold_a")),
        "hold_b": lambda: life.holds.expire_due(),
        "hold_c": lambda: place(life, "hold_d", line(1, 2)),
    }
    for name, take_back in ways.items():
        granted = await place(life, name, line(1, 1))
        assert isinstance(granted, Granted)
        while await client_time(client) <= granted.expires_at:
            pass
        await client.delete(keys.CLOCK)
        await take_back()
        kept = await client.get(keys.CLOCK)
        assert kept is not None
        assert int(kept) >= microseconds(granted.expires_at)


async def test_more_than_one_call_takes_back_is_asked_again_and_never_called_full(
    client: Redis,
) -> None:
    life = await opened(client, row((450,)))
    for number in range(450):
        assert isinstance(await place(life, f"hold_{number}", line(1, 1)), Granted)
    await client.set(keys.CLOCK, int((await client.time())[0] + 3600) * 1_000_000)
    assert isinstance(await place(life, "hold_last", line(1, 450)), Granted)
    assert await held(client) == (450,)


async def test_a_pinned_hold_is_out_of_reach_of_time(client: Redis) -> None:
    life = await opened(client, row((1,)))
    hold = HoldId("hold_a")
    await place(life, hold, line(1, 1))
    assert await life.holds.pin(hold) == Pinned(1)
    await client.set(keys.CLOCK, int((await client.time())[0] + 3600) * 1_000_000)
    assert isinstance(await place(life, "hold_b", line(1, 1)), Full)
    await life.holds.expire_due()
    assert await life.holds.pin(hold) == Pinned(1), "repeatable"
    await life.holds.unpin(hold, 1)
    assert await life.holds.pin(hold) == Pinned(1), "an equal fence moves nothing"
    await life.holds.unpin(hold, 2)
    assert isinstance(await place(life, "hold_b", line(1, 1)), Granted), "free by its own time"
    assert await life.holds.pin(hold) is MemoState.EXPIRED


async def test_a_sale_moves_seats_from_held_to_sold_once(client: Redis) -> None:
    life = await opened(client, row((5,)))
    hold = HoldId("hold_a")
    await place(life, hold, line(1, 2))
    await life.holds.pin(hold)
    for _ in range(2):
        await life.holds.finish(hold, [row((5,), sold=(2,), version=2)])
        (counts,) = await life.seats.counts([(FLIGHT, CabinName.ECONOMY)])
        assert counts is not None
        assert (counts.sold, counts.held, counts.open) == ((2,), (0,), (3,))
    await life.holds.end(hold, JournalState.RELEASED)
    assert (await life.holds.read_memos([hold]))[hold].state is MemoState.SOLD, "never undone"


async def test_rows_are_taken_over_by_version_alone(client: Redis) -> None:
    life = await opened(client, row((5,), sold=(2,), version=4))
    await place(life, "hold_a", line(1, 1))
    for version, limits, sold in ((3, (9,), (0,)), (4, (8,), (1,)), (5, (6,), (3,))):
        await life.seats.apply([row(limits, sold=sold, version=version)])
        (counts,) = await life.seats.counts([(FLIGHT, CabinName.ECONOMY)])
        assert counts is not None
        newer = version > 4
        assert (counts.limits, counts.sold) == ((limits, sold) if newer else ((5,), (2,)))
        assert counts.held == (1,)


async def test_an_extension_is_given_once(client: Redis) -> None:
    life = await opened(client, row((5,)))
    granted = await place(life, "hold_a", line(1, 1))
    assert isinstance(granted, Granted)
    for _ in range(2):
        extended = await life.holds.extend(HoldId("hold_a"))
        assert isinstance(extended, Extended)
        assert extended.expires_at == granted.expires_at + timedelta(minutes=10)
    assert await life.holds.extend(HoldId("hold_x")) is MemoState.UNKNOWN


async def test_no_script_speaks_for_another_epoch(client: Redis) -> None:
    life = await opened(client, row((5,)))
    await place(life, "hold_a", line(1, 1))
    hold = HoldId("hold_a")
    before = await everything(client)
    other = RedisEpochs(Scripts(client), timedelta(minutes=10)).life(EPOCH - 1)
    for call in (
        other.holds.place(HoldId("hold_b"), HoldId("hold_b"), "r", [line(1, 1)], {FLIGHT: 1}),
        other.holds.pin(hold),
        other.holds.unpin(hold, 9),
        other.holds.extend(hold),
        other.holds.end(hold, JournalState.RELEASED),
        other.holds.finish(hold, [row((9,), version=9)]),
        other.seats.apply([row((9,), version=9)]),
        other.seats.raise_write_barrier(FLIGHT, "one"),
        other.holds.expire_due(),
        other.holds.read_memos([hold]),
        other.seats.counts([(FLIGHT, CabinName.ECONOMY)]),
        other.loading.load_rows(ROWS),
        other.loading.load_part(1, memos=MEMO, sums=WAITS),
        other.loading.load_holds([]),
        other.inspection.flights([FLIGHT]),
        other.inspection.holds([hold]),
        other.inspection.repair_flight(FLIGHT, [row((9,), version=9)], [hold]),
        other.loading.open(await client_time(client)),
    ):
        with pytest.raises(EpochMoved):
            await call
    assert await everything(client) == before


async def test_a_part_that_comes_again_does_nothing(client: Redis) -> None:
    """Nor does it when its hold has ended since."""
    life = await opened(client, row((5,)))
    await client.set(keys.LOADING, EPOCH)
    hold = HoldId("hold_a")
    for ended in (False, True):
        await life.loading.load_part(1, memos=MEMO)
        await life.loading.load_part(2, sums=WAITS)
        (seen,) = (await life.holds.read_memos([hold])).values()
        assert (seen.state, await held(client)) == (
            (MemoState.RELEASED, (0,)) if ended else (MemoState.HELD, (2,))
        )
        await life.holds.end(hold, JournalState.RELEASED)
    await life.loading.load_part(3, sums=WAITS)
    assert await held(client) == (2,), "another part is another's"


async def test_a_part_that_broke_off_is_not_said_to_be_written(client: Redis) -> None:
    life = await opened(client, row((5,)))
    await client.set(keys.LOADING, EPOCH)
    await client.set(Keys(EPOCH).expiries(FLIGHT), "no set")
    for _ in range(2):
        with pytest.raises(HoldStoreUnavailable):
            await life.loading.load_part(1, sums=WAITS)


async def test_rows_are_loaded_by_version(client: Redis) -> None:
    life = await opened(client, row((5,), version=2))
    await client.set(keys.LOADING, EPOCH)
    await place(life, "hold_a", line(1, 2))
    for text, limits in ((ROWS, (5,)), (ROWS.replace("|1|9|", "|3|9|"), (9,))):
        await life.loading.load_rows(text)
        here, other = await life.seats.counts(
            [(FLIGHT, CabinName.ECONOMY), (OTHER, CabinName.FIRST)]
        )
        assert here is not None
        assert other is not None
        assert (here.limits, here.held) == (limits, (2,))
        assert (other.limits, other.sold, other.held) == ((4, 3), (2, 0), (0, 0))


async def test_terms_that_changed_and_fences_stop_a_hold(client: Redis) -> None:
    life = await opened(client, row((5,)))
    stale = await life.holds.place(
        HoldId("hold_a"), HoldId("hold_a"), "r", [line(1, 1)], {FLIGHT: 2}
    )
    assert isinstance(stale, Stale)
    assert await life.seats.raise_write_barrier(FLIGHT, "one")
    assert not isinstance(await place(life, "hold_a", line(1, 1)), Granted)
    assert await life.seats.raise_write_barrier(FLIGHT, "other")
    await life.seats.apply([row((5,), version=2)], lift_barrier="one")
    assert not isinstance(await place(life, "hold_a", line(1, 1)), Granted), "the other stands"
    await life.seats.apply([row((5,), version=2)], lift_barrier="other")
    assert isinstance(await place(life, "hold_a", line(1, 1)), Granted)
    assert not await life.seats.raise_write_barrier(FLIGHT, "third"), "seats are held"


@pytest.mark.parametrize(
    "ask",
    [
        lambda life, hold_id: life.holds.extend(hold_id),
        lambda life, hold_id: life.holds.read_memos([hold_id]),
        lambda life, hold_id: life.inspection.holds([hold_id]),
    ],
    ids=["extend", "read", "inspect"],
)
async def test_a_hold_that_is_said_to_have_run_out_is_not_extended_by_a_clock_that_goes_back(
    client: Redis, ask: Callable[[Life, HoldId], Awaitable[object]]
) -> None:
    """The journal is about to be told. Clocks cannot be put back here: what keeps them is looked at."""
    life, hold_id = (
        await opened(client, row((5,)), ttl=timedelta(milliseconds=50)),
        HoldId("hold_a"),
    )
    granted = await place(life, hold_id, line(1, 1))
    assert isinstance(granted, Granted)
    await asyncio.sleep(0.06)
    assert int(await client.get(keys.CLOCK) or 0) < microseconds(granted.expires_at)
    assert "EXPIRED" in str(await ask(life, hold_id))
    assert int(await client.get(keys.CLOCK) or 0) >= microseconds(granted.expires_at)


async def test_nothing_lives_for_ever_but_what_is_alive(client: Redis) -> None:
    life = await opened(client, row((5,)), ttl=timedelta(milliseconds=500))
    await place(life, "hold_a", line(1, 1))
    for name in ("hold_b", "hold_c", "hold_d"):
        await place(life, name, line(1, 1))
    names = Keys(EPOCH)
    assert await client.pttl(names.memo(HoldId("hold_a"))) == -1, "a live hold has no key's age"
    await life.holds.end(HoldId("hold_b"), JournalState.RELEASED)
    await life.holds.pin(HoldId("hold_c"))
    await life.holds.finish(HoldId("hold_c"), [row((5,), sold=(1,), version=2)])
    await asyncio.sleep(0.6)
    assert await life.holds.pin(HoldId("hold_d")) is MemoState.EXPIRED
    while await client.exists(names.due):
        await life.holds.expire_due()
    untold = [names.memo(hold_id) for hold_id in await life.holds.unrecorded_expiries()]
    assert len(untold) == 2
    assert {await client.pttl(memo) for memo in untold} == {-1}, "the journal is not told yet"
    await life.holds.forget_expired(await life.holds.unrecorded_expiries())
    await life.holds.forget_verified(await life.holds.unverified_grants(timedelta(0)))
    left = {key: await client.pttl(key) for key in await everything(client)}
    lasting = {key for key, age in left.items() if age == -1}
    marks = names.granted_on(int(time.time()) // 86_400)  # let go of by a later day
    assert lasting == {keys.EPOCH, keys.CLOCK, names.flight(FLIGHT), marks}
    tombstones = [age for key, age in left.items() if key not in lasting]
    assert len(tombstones) == 4
    assert all(14 * 60_000 < age <= 15 * 60_000 for age in tombstones)


async def test_lines_are_kept_until_the_journal_was_told_and_no_longer(client: Redis) -> None:
    """What a tombstone says is its state; what it held counts for as long as a rebuild may revive it."""
    life = await opened(client, row((9,)), ttl=timedelta(milliseconds=300))
    for name in ("hold_released", "hold_sold", "hold_expired"):
        await place(life, name, line(1, 2))
    await life.holds.end(HoldId("hold_released"), JournalState.RELEASED)
    await life.holds.finish(HoldId("hold_sold"), [row((9,), sold=(2,), version=2)])
    while await life.holds.unrecorded_expiries() == []:
        await life.holds.expire_due()

    async def kept() -> dict[str, bool]:
        names = ("hold_released", "hold_sold", "hold_expired")
        memos = [Keys(EPOCH).memo(HoldId(name)) for name in names]
        return dict(
            zip(names, [bool(await client.hexists(m, "lines")) for m in memos], strict=True)
        )

    cabin = (FLIGHT, CabinName.ECONOMY)
    assert await kept() == {"hold_released": False, "hold_sold": False, "hold_expired": True}
    assert await life.seats.taken_seats([cabin]) == [TakenSeats(2, (4,))], (
        "sold, and what ran out untold"
    )
    await life.holds.forget_expired(await life.holds.unrecorded_expiries())
    assert not (await kept())["hold_expired"]
    assert await life.seats.taken_seats([cabin]) == [TakenSeats(2, (2,))]


async def test_what_is_held_is_what_live_holds_add_up_to(client: Redis) -> None:
    """Also where more holds are looked at than one call counts, and some are pinned."""
    life = await opened(client, row((500,)), row((9,), flight_id=OTHER))
    for number in range(1100):
        await place(life, f"hold_{number}", line(1, 1), line(1, 0, OTHER))
    await life.holds.pin(HoldId("hold_3"))
    await client.hset(Keys(EPOCH).flight(FLIGHT), "economy:held", "7")
    found = await life.inspection.flights([FLIGHT, OTHER, FlightId("flt_nowhere")])
    seen = found[FLIGHT][CabinName.ECONOMY]
    assert (seen.limits, seen.sold, seen.held, seen.counted) == ((500,), (0,), (7,), (500,))
    assert found[OTHER][CabinName.ECONOMY].counted == (0,)
    assert found[FlightId("flt_nowhere")] == {}
    await life.inspection.repair_flight(FLIGHT, [row((500,))], [])
    assert await held(client) == (500,)


async def test_only_an_unknown_digest_is_sent_again(client: Redis) -> None:
    life = await opened(client, row((5,)))
    await client.script_flush()
    assert isinstance(await place(life, "hold_a", line(1, 1)), Granted)
    assert await held(client) == (1,)


async def test_what_is_asked_at_once_is_one_call_that_runs_in_order(client: Redis) -> None:
    life = await opened(client, row((3,)))
    await client.config_resetstat()
    outcomes = await asyncio.gather(*(place(life, f"hold_{i}", line(1, 1)) for i in range(12)))
    assert [type(outcome) for outcome in outcomes] == [Granted] * 3 + [Full] * 9
    assert await held(client) == (3,)
    calls = (await client.info("commandstats"))["cmdstat_evalsha"]["calls"]
    assert calls <= 4, "all of them, and the reading; each again where the server did not know it"


async def test_one_that_fails_among_others_fails_alone(client: Redis) -> None:
    life = await opened(client, row((3,)))
    await client.set(Keys(EPOCH).memo(HoldId("hold_broken")), "no hash")
    outcomes = await asyncio.gather(
        *(place(life, f"hold_{name}", line(1, 1)) for name in ("a", "broken", "b")),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [Granted, HoldStoreUnavailable, Granted]
    assert await held(client) == (2,)
    await client.delete(Keys(EPOCH).memo(HoldId("hold_broken")))


async def test_nobody_waits_for_those_that_failed_to_be_sent_again(client: Redis) -> None:
    life = await opened(client, row((3,)))
    names = [f"hold_{i}" for i in range(8)]
    memos = [Keys(EPOCH).memo(HoldId(name)) for name in names[2:-1]]
    await client.mset(dict.fromkeys(memos, "no hash"))
    asked = [asyncio.create_task(place(life, name, line(1, 1))) for name in names]
    assert type(await asked[-1]) is Granted
    assert not any(task.done() for task in asked[2:-1])
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes[2:-1]] == [HoldStoreUnavailable] * 5
    await client.delete(*memos)


@pytest.mark.parametrize("path", sorted(LUA.glob("*.lua")), ids=lambda path: path.stem)
def test_a_header_names_every_key_and_argument_that_is_read(path: Path) -> None:
    source = path.read_text()
    header = "".join(ln + "\n" for ln in source.splitlines() if ln.startswith("-- "))
    body = re.sub(r"--[^\n]*", "", Script(path).source)
    for kind in ("KEYS", "ARGV"):
        named = {int(n) for n in re.findall(rf"-- {kind}\[(\d+)", header)}
        read = {int(n) for n in re.findall(rf"{kind}\[(\d+)\]", body)}
        assert read <= named, f"{kind} read but not named"
        assert named == set(range(1, len(named) + 1)), f"{kind} named without gaps"
    assert "-- RETURNS" in header
    returned = set(re.findall(r"return \{[^}]*?'([A-Z]+)'", source.split("--@include")[-1]))
    assert returned <= set(re.findall(r"[A-Z_]+", header)), "a code that the header does not name"


async def client_time(client: Redis) -> datetime:
    seconds, microseconds = await client.time()
    return datetime.fromtimestamp(seconds + microseconds / 1e6, UTC)


async def everything(client: Redis) -> dict[str, bytes | None]:
    """Every key with its serialized value."""
    found = [key async for key in client.scan_iter()]
    return {bytes(key).decode(): await client.dump(key) for key in found}
