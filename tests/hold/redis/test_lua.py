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
from app.hold.redis.holds import RedisHolds
from app.hold.redis.inspection import Inspection
from app.hold.redis.keys import Keys
from app.hold.redis.scripts import EpochMoved, Scripts
from app.hold.redis.seats import RedisSeats, Taken
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


class Stores(RedisHolds):
    """All scripts over one connection."""

    def __init__(self, client: Redis, ttl: timedelta) -> None:
        scripts = Scripts(client)
        super().__init__(scripts, ttl)
        self.seats, self.epochs = RedisSeats(scripts), RedisEpochs(scripts)
        self.inspection = Inspection(scripts)


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
) -> Stores:
    store = Stores(client, ttl)
    await client.set(keys.EPOCH, EPOCH)
    await store.seats.apply(EPOCH, rows)
    return store


async def held(client: Redis, flight_id: FlightId = FLIGHT) -> tuple[int, ...]:
    (counts,) = await RedisSeats(Scripts(client)).counts(EPOCH, [(flight_id, CabinName.ECONOMY)])
    assert counts is not None
    return counts.held


async def place(store: Stores, name: str, *lines: SeatLine) -> object:
    versions = {line.flight_id: 1 for line in lines}
    return await store.place(EPOCH, HoldId(name), HoldId(name), "r", lines, versions)


async def test_the_arithmetic_is_the_same_in_lua(client: Redis) -> None:
    """Random cabins, filled until nothing fits: at each step the script and the pure function agree."""
    chance = random.Random(11)
    for case in range(60):
        flight_id = FlightId(f"flt_case{case}")
        limits = tuple(chance.randint(0, 9) for _ in range(chance.randint(1, 8)))
        sold = tuple(chance.randint(0, 2) for _ in limits)
        store = await opened(client, row(limits, sold=sold, flight_id=flight_id))
        taken = list(sold)
        for step in range(12):
            position, seats = chance.randint(1, len(limits)), chance.randint(1, 3)
            outcome = await place(store, f"hold_{case}_{step}", line(position, seats, flight_id))
            if open_seats(limits, taken)[position - 1] >= seats:
                assert isinstance(outcome, Granted), (limits, taken, position, seats)
                taken[position - 1] += seats
            else:
                assert isinstance(outcome, Full), (limits, taken, position, seats)
                assert outcome.open_seats == (open_seats(limits, taken)[position - 1],)
        assert [s + h for s, h in zip(sold, await held(client, flight_id), strict=True)] == taken


async def test_all_lines_or_none(client: Redis) -> None:
    store = await opened(client, row((5,)), row((1,), flight_id=OTHER))
    for lines in ((line(1, 2), line(1, 2, OTHER)), (line(1, 2, OTHER), line(1, 2))):
        assert isinstance(await place(store, "hold_a", *lines), Full)
        assert await held(client) == await held(client, OTHER) == (0,)
    assert isinstance(await place(store, "hold_b", line(1, 1), line(1, 1, OTHER)), Granted)
    assert await held(client) == await held(client, OTHER) == (1,)


async def test_two_lines_in_one_cabin_are_counted_together(client: Redis) -> None:
    store = await opened(client, row((5, 3)))
    assert isinstance(await place(store, "hold_a", line(1, 3), line(2, 3)), Full)
    assert isinstance(await place(store, "hold_b", line(1, 2), line(2, 3)), Granted)
    assert await held(client) == (2, 3)


async def test_asked_again_it_says_what_became_of_it(client: Redis) -> None:
    store = await opened(client, row((5,)))
    granted = await place(store, "hold_a", line(1, 2))
    assert isinstance(granted, Granted)
    again = await place(store, "hold_a", line(1, 2))
    assert again == Remembered(MemoState.HELD, granted.expires_at, granted.granted_at, "r")
    assert await held(client) == (2,)
    await store.end(EPOCH, HoldId("hold_a"), JournalState.RELEASED)
    after = await place(store, "hold_a", line(1, 2))
    assert isinstance(after, Remembered)
    assert after.state is MemoState.RELEASED
    assert await held(client) == (0,)


async def test_a_release_before_its_hold_leaves_a_tombstone(client: Redis) -> None:
    store = await opened(client, row((5,)))
    await store.end(EPOCH, HoldId("hold_a"), JournalState.RELEASED)
    late = await place(store, "hold_a", line(1, 2))
    assert isinstance(late, Remembered)
    assert await held(client) == (0,)


async def test_what_ran_out_is_taken_back_by_whoever_asks(client: Redis) -> None:
    store = await opened(
        client, row((2,)), row((2,), flight_id=OTHER), ttl=timedelta(milliseconds=30)
    )
    assert isinstance(await place(store, "hold_a", line(1, 2), line(1, 2, OTHER)), Granted)
    outcome = await place(store, "hold_b", line(1, 2))
    while isinstance(outcome, Full):
        assert outcome.next_release_at is not None
        outcome = await place(store, "hold_b", line(1, 2))
    assert isinstance(outcome, Granted)
    assert await held(client) == (2,)
    assert await held(client, OTHER) == (0,), "the other flight's seats came back with it"
    assert await store.taken_back(EPOCH) == ["hold_a"]


async def test_no_clock_runs_behind_a_hold_that_was_taken_back(client: Redis) -> None:
    """Else the next grant may look older than that hold's end, and a rebuild, which goes by the latest
    grant, revives it.
    """
    store = await opened(client, row((1,)), ttl=timedelta(milliseconds=20))
    ways: dict[str, Callable[[], Awaitable[object]]] = {
        "hold_a": lambda: store.pin(EPOCH, HoldId("hold_a")),
        "hold_b": lambda: store.take_back_expired(EPOCH),
        "hold_c": lambda: place(store, "hold_d", line(1, 2)),
    }
    for name, take_back in ways.items():
        granted = await place(store, name, line(1, 1))
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
    store = await opened(client, row((450,)))
    for number in range(450):
        assert isinstance(await place(store, f"hold_{number}", line(1, 1)), Granted)
    await client.set(keys.CLOCK, int((await client.time())[0] + 3600) * 1_000_000)
    assert isinstance(await place(store, "hold_last", line(1, 450)), Granted)
    assert await held(client) == (450,)


async def test_a_pinned_hold_is_out_of_reach_of_time(client: Redis) -> None:
    store = await opened(client, row((1,)))
    hold = HoldId("hold_a")
    await place(store, hold, line(1, 1))
    assert await store.pin(EPOCH, hold) == Pinned(1)
    await client.set(keys.CLOCK, int((await client.time())[0] + 3600) * 1_000_000)
    assert isinstance(await place(store, "hold_b", line(1, 1)), Full)
    await store.take_back_expired(EPOCH)
    assert await store.pin(EPOCH, hold) == Pinned(1), "repeatable"
    await store.unpin(EPOCH, hold, 1)
    assert await store.pin(EPOCH, hold) == Pinned(1), "an equal fence moves nothing"
    await store.unpin(EPOCH, hold, 2)
    assert isinstance(await place(store, "hold_b", line(1, 1)), Granted), "free by its own time"
    assert await store.pin(EPOCH, hold) is MemoState.EXPIRED


async def test_a_sale_moves_seats_from_held_to_sold_once(client: Redis) -> None:
    store = await opened(client, row((5,)))
    hold = HoldId("hold_a")
    await place(store, hold, line(1, 2))
    await store.pin(EPOCH, hold)
    for _ in range(2):
        await store.finish(EPOCH, hold, [row((5,), sold=(2,), version=2)])
        (counts,) = await store.seats.counts(EPOCH, [(FLIGHT, CabinName.ECONOMY)])
        assert counts is not None
        assert (counts.sold, counts.held, counts.open) == ((2,), (0,), (3,))
    await store.end(EPOCH, hold, JournalState.RELEASED)
    assert (await store.read_memos(EPOCH, [hold]))[hold].state is MemoState.SOLD, "never undone"


async def test_rows_are_taken_over_by_version_alone(client: Redis) -> None:
    store = await opened(client, row((5,), sold=(2,), version=4))
    await place(store, "hold_a", line(1, 1))
    for version, limits, sold in ((3, (9,), (0,)), (4, (8,), (1,)), (5, (6,), (3,))):
        await store.seats.apply(EPOCH, [row(limits, sold=sold, version=version)])
        (counts,) = await store.seats.counts(EPOCH, [(FLIGHT, CabinName.ECONOMY)])
        assert counts is not None
        newer = version > 4
        assert (counts.limits, counts.sold) == ((limits, sold) if newer else ((5,), (2,)))
        assert counts.held == (1,)


async def test_an_extension_is_given_once(client: Redis) -> None:
    store = await opened(client, row((5,)))
    granted = await place(store, "hold_a", line(1, 1))
    assert isinstance(granted, Granted)
    for _ in range(2):
        extended = await store.extend(EPOCH, HoldId("hold_a"))
        assert isinstance(extended, Extended)
        assert extended.expires_at == granted.expires_at + timedelta(minutes=10)
    assert await store.extend(EPOCH, HoldId("hold_x")) is MemoState.UNKNOWN


async def test_no_script_speaks_for_another_epoch(client: Redis) -> None:
    store = await opened(client, row((5,)))
    await place(store, "hold_a", line(1, 1))
    hold = HoldId("hold_a")
    before = await everything(client)
    for call in (
        store.place(EPOCH - 1, HoldId("hold_b"), HoldId("hold_b"), "r", [line(1, 1)], {FLIGHT: 1}),
        store.pin(EPOCH - 1, hold),
        store.unpin(EPOCH - 1, hold, 9),
        store.extend(EPOCH - 1, hold),
        store.end(EPOCH - 1, hold, JournalState.RELEASED),
        store.finish(EPOCH - 1, hold, [row((9,), version=9)]),
        store.seats.apply(EPOCH - 1, [row((9,), version=9)]),
        store.seats.fence(EPOCH - 1, FLIGHT, "one"),
        store.take_back_expired(EPOCH - 1),
        store.read_memos(EPOCH - 1, [hold]),
        store.seats.counts(EPOCH - 1, [(FLIGHT, CabinName.ECONOMY)]),
        store.seats.load(EPOCH - 1, ROWS),
        store.epochs.load_part(EPOCH - 1, 1, memos=MEMO, waits=WAITS),
        store.epochs.load_holds(EPOCH - 1, []),
        store.inspection.flights(EPOCH - 1, [FLIGHT]),
        store.inspection.holds(EPOCH - 1, [hold]),
        store.inspection.mend(EPOCH - 1, FLIGHT, [row((9,), version=9)], [hold]),
        store.epochs.open_epoch(EPOCH - 1, (await client_time(client))),
    ):
        with pytest.raises(EpochMoved):
            await call
    assert await everything(client) == before


async def test_a_part_that_comes_again_does_nothing(client: Redis) -> None:
    """Nor does it when its hold has ended since."""
    store = await opened(client, row((5,)))
    await client.set(keys.LOADING, EPOCH)
    hold = HoldId("hold_a")
    for ended in (False, True):
        await store.epochs.load_part(EPOCH, 1, memos=MEMO)
        await store.epochs.load_part(EPOCH, 2, waits=WAITS)
        (seen,) = (await store.read_memos(EPOCH, [hold])).values()
        assert (seen.state, await held(client)) == (
            (MemoState.RELEASED, (0,)) if ended else (MemoState.HELD, (2,))
        )
        await store.end(EPOCH, hold, JournalState.RELEASED)
    await store.epochs.load_part(EPOCH, 3, waits=WAITS)
    assert await held(client) == (2,), "another part is another's"


async def test_a_part_that_broke_off_is_not_said_to_be_written(client: Redis) -> None:
    store = await opened(client, row((5,)))
    await client.set(keys.LOADING, EPOCH)
    await client.set(Keys(EPOCH).expiries(FLIGHT), "no set")
    for _ in range(2):
        with pytest.raises(HoldStoreUnavailable):
            await store.epochs.load_part(EPOCH, 1, waits=WAITS)


async def test_rows_are_loaded_by_version(client: Redis) -> None:
    store = await opened(client, row((5,), version=2))
    await client.set(keys.LOADING, EPOCH)
    await place(store, "hold_a", line(1, 2))
    for text, limits in ((ROWS, (5,)), (ROWS.replace("|1|9|", "|3|9|"), (9,))):
        await store.seats.load(EPOCH, text)
        here, other = await store.seats.counts(
            EPOCH, [(FLIGHT, CabinName.ECONOMY), (OTHER, CabinName.FIRST)]
        )
        assert here is not None
        assert other is not None
        assert (here.limits, here.held) == (limits, (2,))
        assert (other.limits, other.sold, other.held) == ((4, 3), (2, 0), (0, 0))


async def test_terms_that_changed_and_fences_stop_a_hold(client: Redis) -> None:
    store = await opened(client, row((5,)))
    stale = await store.place(
        EPOCH, HoldId("hold_a"), HoldId("hold_a"), "r", [line(1, 1)], {FLIGHT: 2}
    )
    assert isinstance(stale, Stale)
    assert await store.seats.fence(EPOCH, FLIGHT, "one")
    assert not isinstance(await place(store, "hold_a", line(1, 1)), Granted)
    assert await store.seats.fence(EPOCH, FLIGHT, "other")
    await store.seats.apply(EPOCH, [row((5,), version=2)], lift_fence="one")
    assert not isinstance(await place(store, "hold_a", line(1, 1)), Granted), "the other stands"
    await store.seats.apply(EPOCH, [row((5,), version=2)], lift_fence="other")
    assert isinstance(await place(store, "hold_a", line(1, 1)), Granted)
    assert not await store.seats.fence(EPOCH, FLIGHT, "third"), "seats are held"


@pytest.mark.parametrize(
    "ask",
    [
        lambda store, hold_id: store.extend(EPOCH, hold_id),
        lambda store, hold_id: store.read_memos(EPOCH, [hold_id]),
        lambda store, hold_id: store.inspection.holds(EPOCH, [hold_id]),
    ],
    ids=["extend", "read", "inspect"],
)
async def test_a_hold_that_is_said_to_have_run_out_is_not_extended_by_a_clock_that_goes_back(
    client: Redis, ask: Callable[[Stores, HoldId], Awaitable[object]]
) -> None:
    """The journal is about to be told. Clocks cannot be put back here: what keeps them is looked at."""
    store, hold_id = (
        await opened(client, row((5,)), ttl=timedelta(milliseconds=50)),
        HoldId("hold_a"),
    )
    granted = await place(store, hold_id, line(1, 1))
    assert isinstance(granted, Granted)
    await asyncio.sleep(0.06)
    assert int(await client.get(keys.CLOCK) or 0) < microseconds(granted.expires_at)
    assert "EXPIRED" in str(await ask(store, hold_id))
    assert int(await client.get(keys.CLOCK) or 0) >= microseconds(granted.expires_at)


async def test_nothing_lives_for_ever_but_what_is_alive(client: Redis) -> None:
    store = await opened(client, row((5,)), ttl=timedelta(milliseconds=500))
    await place(store, "hold_a", line(1, 1))
    for name in ("hold_b", "hold_c", "hold_d"):
        await place(store, name, line(1, 1))
    names = Keys(EPOCH)
    assert await client.pttl(names.memo(HoldId("hold_a"))) == -1, "a live hold has no key's age"
    await store.end(EPOCH, HoldId("hold_b"), JournalState.RELEASED)
    await store.pin(EPOCH, HoldId("hold_c"))
    await store.finish(EPOCH, HoldId("hold_c"), [row((5,), sold=(1,), version=2)])
    await asyncio.sleep(0.6)
    assert await store.pin(EPOCH, HoldId("hold_d")) is MemoState.EXPIRED
    while await client.exists(names.due):
        await store.take_back_expired(EPOCH)
    untold = [names.memo(hold_id) for hold_id in await store.taken_back(EPOCH)]
    assert len(untold) == 2
    assert {await client.pttl(memo) for memo in untold} == {-1}, "the journal is not told yet"
    await store.forget_taken_back(EPOCH, await store.taken_back(EPOCH))
    await store.forget_fresh(EPOCH, await store.fresh(EPOCH, timedelta(0)))
    left = {key: await client.pttl(key) for key in await everything(client)}
    lasting = {key for key, age in left.items() if age == -1}
    marks = names.granted_on(int(time.time()) // 86_400)  # let go of by a later day
    assert lasting == {keys.EPOCH, keys.CLOCK, names.flight(FLIGHT), marks}
    tombstones = [age for key, age in left.items() if key not in lasting]
    assert len(tombstones) == 4
    assert all(14 * 60_000 < age <= 15 * 60_000 for age in tombstones)


async def test_lines_are_kept_until_the_journal_was_told_and_no_longer(client: Redis) -> None:
    """What a tombstone says is its state; what it held counts for as long as a rebuild may revive it."""
    store = await opened(client, row((9,)), ttl=timedelta(milliseconds=300))
    for name in ("hold_released", "hold_sold", "hold_expired"):
        await place(store, name, line(1, 2))
    await store.end(EPOCH, HoldId("hold_released"), JournalState.RELEASED)
    await store.finish(EPOCH, HoldId("hold_sold"), [row((9,), sold=(2,), version=2)])
    while await store.taken_back(EPOCH) == []:
        await store.take_back_expired(EPOCH)

    async def kept() -> dict[str, bool]:
        names = ("hold_released", "hold_sold", "hold_expired")
        memos = [Keys(EPOCH).memo(HoldId(name)) for name in names]
        return dict(
            zip(names, [bool(await client.hexists(m, "lines")) for m in memos], strict=True)
        )

    cabin = (FLIGHT, CabinName.ECONOMY)
    assert await kept() == {"hold_released": False, "hold_sold": False, "hold_expired": True}
    assert await store.seats.taken(EPOCH, [cabin]) == [Taken(2, (4,))], (
        "sold, and what ran out untold"
    )
    await store.forget_taken_back(EPOCH, await store.taken_back(EPOCH))
    assert not (await kept())["hold_expired"]
    assert await store.seats.taken(EPOCH, [cabin]) == [Taken(2, (2,))]


async def test_what_is_held_is_what_live_holds_add_up_to(client: Redis) -> None:
    """Also where more holds are looked at than one call counts, and some are pinned."""
    store = await opened(client, row((500,)), row((9,), flight_id=OTHER))
    for number in range(1100):
        await place(store, f"hold_{number}", line(1, 1), line(1, 0, OTHER))
    await store.pin(EPOCH, HoldId("hold_3"))
    await client.hset(Keys(EPOCH).flight(FLIGHT), "economy:held", "7")
    found = await store.inspection.flights(EPOCH, [FLIGHT, OTHER, FlightId("flt_nowhere")])
    seen = found[FLIGHT][CabinName.ECONOMY]
    assert (seen.limits, seen.sold, seen.held, seen.counted) == ((500,), (0,), (7,), (500,))
    assert found[OTHER][CabinName.ECONOMY].counted == (0,)
    assert found[FlightId("flt_nowhere")] == {}
    await store.inspection.mend(EPOCH, FLIGHT, [row((500,))], [])
    assert await held(client) == (500,)


async def test_only_an_unknown_digest_is_sent_again(client: Redis) -> None:
    store = await opened(client, row((5,)))
    await client.script_flush()
    assert isinstance(await place(store, "hold_a", line(1, 1)), Granted)
    assert await held(client) == (1,)


async def test_what_is_asked_at_once_is_one_call_that_runs_in_order(client: Redis) -> None:
    store = await opened(client, row((3,)))
    await client.config_resetstat()
    outcomes = await asyncio.gather(*(place(store, f"hold_{i}", line(1, 1)) for i in range(12)))
    assert [type(outcome) for outcome in outcomes] == [Granted] * 3 + [Full] * 9
    assert await held(client) == (3,)
    calls = (await client.info("commandstats"))["cmdstat_evalsha"]["calls"]
    assert calls <= 4, "all of them, and the reading; each again where the server did not know it"


async def test_one_that_fails_among_others_fails_alone(client: Redis) -> None:
    store = await opened(client, row((3,)))
    await client.set(Keys(EPOCH).memo(HoldId("hold_broken")), "no hash")
    outcomes = await asyncio.gather(
        *(place(store, f"hold_{name}", line(1, 1)) for name in ("a", "broken", "b")),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [Granted, HoldStoreUnavailable, Granted]
    assert await held(client) == (2,)
    await client.delete(Keys(EPOCH).memo(HoldId("hold_broken")))


async def test_nobody_waits_for_those_that_failed_to_be_sent_again(client: Redis) -> None:
    store = await opened(client, row((3,)))
    names = [f"hold_{i}" for i in range(8)]
    memos = [Keys(EPOCH).memo(HoldId(name)) for name in names[2:-1]]
    await client.mset(dict.fromkeys(memos, "no hash"))
    asked = [asyncio.create_task(place(store, name, line(1, 1))) for name in names]
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
