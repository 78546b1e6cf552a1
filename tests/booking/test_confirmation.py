"""What becomes of a hold and its booking when they meet others, time, and failures half way."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any, TypeVar

import asyncpg
import pytest
from sqlalchemy import text

from app.background import Background
from app.booking.model import draw_locator
from app.booking.service import BookingService
from app.clock import utc_now
from app.dev.postgres import Postgres
from app.errors import DatabaseUnavailable, HoldStoreUnavailable, IdempotencyInFlight
from app.hold.claim import Claim, Claims
from app.hold.errors import HoldExpired, HoldNotActive, SoldOut
from app.hold.model import Hold, HoldStatus, MemoState
from app.hold.service import HoldService
from app.idempotency.model import Answered, IdempotencyKey
from app.ids import FlightId, HoldId
from app.inventory.model import CabinCounts, CabinName
from app.storage.database import Database, WriteSession
from app.storage.transaction import OutcomeUnknown
from app.wiring import Core
from tests.booking.conftest import SOUTH, Counts, Place, Rows
from tests.builders.bookings import wanted
from tests.builders.flights import ECONOMY, flight
from tests.builders.holds import DEMO, key, no_offers, request
from tests.fixtures.core import StartCore, sell_from

T = TypeVar("T")
Step = Callable[[], Awaitable[None]]
SECOND = timedelta(seconds=1)
LAST_SEAT = flight(flight_id="flt_last", classes=[("Y", 1, ECONOMY[0][2])])


class Interrupted(Claims):
    """The real claims; once, between pin and transaction, something else happens."""

    def __init__(self, core: Core, step: Step) -> None:
        super().__init__(core.database, core.store, core.epochs)
        self._step: Step | None = step

    async def pin(self, hold_id: HoldId) -> Claim:
        claim = await super().pin(hold_id)
        step, self._step = self._step, None
        if step is not None:
            await step()
        return claim


class Crashed(Background):
    """The process ended right after the commit: nothing of the background ever ran."""

    async def start(self, name: str, work: Coroutine[Any, Any, Any]) -> None:
        work.close()


class Forgetful(Database):
    """Once, the answer to COMMIT is lost: after it was done, or before it could be."""

    def __init__(self, url: str, *, commits: bool) -> None:
        super().__init__(url)
        self._commits = commits
        self._is_due = True

    async def run_in_transaction(self, work: Callable[[WriteSession], Awaitable[T]]) -> T:
        if not self._is_due:
            return await super().run_in_transaction(work)
        self._is_due = False
        if self._commits:
            await super().run_in_transaction(work)
        raise OutcomeUnknown


def service(
    core: Core,
    *,
    step: Step | None = None,
    database: Database | None = None,
    background: Background | None = None,
) -> BookingService:
    return BookingService(
        database or core.database,
        core.claims if step is None else Interrupted(core, step),
        core.live,
        background or core.background,
        core.clock,
        draw_locator,
    )


async def last_seat(core: Core) -> tuple[HoldService, Hold]:
    """The only seat of a flight, held."""
    await sell_from(core, LAST_SEAT)
    holds = core.holds(no_offers)
    return holds, (await holds.place(DEMO, request(("flt_last", "Y")), key())).value


async def numbers(core: Core, flight_id: str = "flt_last") -> CabinCounts:
    (found,) = await core.live.counts([(FlightId(flight_id), CabinName.ECONOMY)])
    assert found is not None
    return found


async def is_sold_out(holds: HoldService) -> bool:
    try:
        await holds.place(DEMO, request(("flt_last", "Y")), key())
    except SoldOut:
        return True
    return False


async def clock_passes(instant: datetime) -> None:
    while utc_now() <= instant:  # noqa: ASYNC110 - time itself is awaited
        await asyncio.sleep((instant - utc_now()).total_seconds() + 0.001)


async def fail_half_way(
    core: Core, postgres: Postgres, database_url: str, hold: Hold, same: IdempotencyKey
) -> None:
    """A booking that has its key, its journal row and its booking, and loses the database then."""
    other = await postgres.connect(database_url.rpartition("/")[2])
    try:
        async with other.transaction():
            await other.execute("SELECT 1 FROM inventory FOR UPDATE")
            booking = asyncio.create_task(service(core).confirm(DEMO, wanted(hold), same))
            while not await other.fetchval(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            ):
                assert not booking.done()
                await other.execute("SELECT pg_stat_clear_snapshot()")
                await asyncio.sleep(0.005)
            with pytest.raises(DatabaseUnavailable):
                await booking
    finally:
        await other.close()


async def memo_of(core: Core, hold: Hold) -> MemoState:
    epoch = await core.epochs.current()
    return (await core.store.glimpse(epoch, [hold.hold_id]))[hold.hold_id].state


async def nothing_was_left(rows: Rows) -> bool:
    found = [await rows(f"SELECT 1 FROM {table}") for table in ("bookings", "booking_passengers")]
    found += [await rows(f"SELECT 1 FROM {table}") for table in ("outbox", "idempotency_records")]
    sold = await rows("SELECT 1 FROM inventory WHERE sold_total <> 0")
    return not any(found) and not sold


# Many at once ------------------------------------------------------------------------------------


async def test_eight_bookings_of_one_hold_are_one(
    core: Core, bookings: BookingService, place: Place, counts: Counts, rows: Rows
) -> None:
    hold = await place(adults=2)
    answers = await asyncio.gather(
        *(bookings.confirm(DEMO, wanted(hold), key()) for _ in range(8)), return_exceptions=True
    )
    assert Counter(type(answer) for answer in answers) == {Answered: 1, HoldNotActive: 7}
    assert (await counts()).sold == (2, 0)
    assert (await counts()).held == (0, 0)
    for table in ("bookings", "outbox", "idempotency_records"):
        assert len(await rows(f"SELECT 1 FROM {table}")) == 1, table


async def test_one_booking_sent_eight_times_is_one(
    bookings: BookingService, place: Place, counts: Counts, rows: Rows
) -> None:
    hold, same = await place(adults=2), key()
    answers = await asyncio.gather(*(bookings.confirm(DEMO, wanted(hold), same) for _ in range(8)))
    assert len({answer.value for answer in answers}) == 1
    assert sorted(answer.replayed for answer in answers) == [False] + [True] * 7
    assert (await counts()).sold == (2, 0)
    for table in ("bookings", "outbox", "idempotency_records"):
        assert len(await rows(f"SELECT 1 FROM {table}")) == 1, table


async def test_many_holds_booked_at_once_over_two_processes_sell_what_there_is(
    start_core: StartCore, rows: Rows, counts: Counts
) -> None:
    cores = [await start_core(), await start_core()]
    await sell_from(cores[0], flight(flight_id=SOUTH))
    held = await asyncio.gather(
        *(
            cores[i % 2].holds(no_offers).place(DEMO, request((SOUTH, "YM"[i % 3 == 0])), key())
            for i in range(14)
        ),
        return_exceptions=True,
    )
    holds = [one.value for one in held if isinstance(one, Answered)]
    assert len(holds) == 10
    await asyncio.gather(
        *(
            service(cores[i % 2]).confirm(DEMO, wanted(hold), key())
            for i, hold in enumerate([*holds, *holds])
        ),
        return_exceptions=True,
    )
    await cores[0].background.drain(5)
    await cores[1].background.drain(5)
    (row,) = await rows("SELECT sold_total FROM inventory WHERE flight_id = 'flt_south'")
    assert row["sold_total"] == 10 == len(await rows("SELECT 1 FROM bookings"))
    now = await counts()
    assert (sum(now.sold), now.held, now.open) == (10, (0, 0), (0, 0))


@pytest.mark.parametrize("booking_first", [True, False])
async def test_release_and_booking_at_once_agree_on_one_of_them(
    core: Core,
    holds: HoldService,
    bookings: BookingService,
    place: Place,
    counts: Counts,
    *,
    booking_first: bool,
) -> None:
    for _ in range(5):
        sold = sum((await counts()).sold)
        hold = await place()
        both: list[Coroutine[Any, Any, Any]] = [
            bookings.confirm(DEMO, wanted(hold), key()),
            holds.release(DEMO, hold.hold_id),
        ]
        answers = await asyncio.gather(
            *(both if booking_first else reversed(both)), return_exceptions=True
        )
        booked = [answer for answer in answers if isinstance(answer, Answered)]
        assert sum(isinstance(answer, HoldNotActive) for answer in answers) == 1, answers
        status = (await holds.get(DEMO, hold.hold_id)).status
        assert status is (HoldStatus.BOOKED if booked else HoldStatus.RELEASED)
        now = await counts()
        assert (sum(now.sold), now.held) == (sold + len(booked), (0, 0))


# Time --------------------------------------------------------------------------------------------


async def test_a_hold_that_ran_out_is_not_booked_and_its_seat_is_free(
    start_core: StartCore, rows: Rows
) -> None:
    core = await start_core(ttl=SECOND)
    holds, hold = await last_seat(core)
    await clock_passes(hold.expires_at)
    with pytest.raises(HoldExpired):
        await service(core).confirm(DEMO, wanted(hold), key())
    assert await rows("SELECT state FROM hold_journal") == [{"state": "EXPIRED"}]
    assert await nothing_was_left(rows)
    assert not await is_sold_out(holds)
    with pytest.raises(HoldExpired):
        await service(core).confirm(DEMO, wanted(hold), key())


async def test_a_hold_whose_time_passes_while_its_booking_waits_is_booked_and_nobody_elses(
    start_core: StartCore, postgres: Postgres, empty_database: str
) -> None:
    core = await start_core(ttl=SECOND)
    holds, hold = await last_seat(core)
    blocker = await postgres.connect(empty_database.rpartition("/")[2])
    try:
        async with blocker.transaction():
            await blocker.execute("SELECT 1 FROM inventory FOR UPDATE")
            booking = asyncio.create_task(service(core).confirm(DEMO, wanted(hold), key()))
            await clock_passes(hold.expires_at)
            await core.expirer.once()
            assert await is_sold_out(holds)
            assert not booking.done()
        booked = (await booking).value
    finally:
        await blocker.close()
    assert booked.hold_id == hold.hold_id
    await core.background.drain(5)
    assert await is_sold_out(holds)
    now = await numbers(core)
    assert (now.sold, now.held) == ((1,), (0,))


async def test_after_a_failure_the_hold_is_live_and_ends_on_its_own_time(
    start_core: StartCore, postgres: Postgres, empty_database: str, rows: Rows
) -> None:
    core = await start_core(ttl=2 * SECOND)
    holds, hold = await last_seat(core)

    await fail_half_way(core, postgres, empty_database, hold, key())

    await core.background.drain(5)
    assert await memo_of(core, hold) is MemoState.HELD
    assert (await holds.get(DEMO, hold.hold_id)).status is HoldStatus.ACTIVE
    assert await nothing_was_left(rows)
    assert await is_sold_out(holds)
    await clock_passes(hold.expires_at)
    assert not await is_sold_out(holds)


async def test_after_a_failure_the_same_request_books(
    core: Core, place: Place, counts: Counts, postgres: Postgres, empty_database: str
) -> None:
    hold, same = await place(), key()
    await fail_half_way(core, postgres, empty_database, hold, same)
    answered = await service(core).confirm(DEMO, wanted(hold), same)
    assert not answered.replayed
    assert (await counts()).sold == (1, 0)


# Others in between -------------------------------------------------------------------------------


async def test_released_between_pin_and_transaction_it_is_not_sold(
    core: Core, holds: HoldService, place: Place, counts: Counts, rows: Rows
) -> None:
    hold = await place()

    async def release() -> None:
        await holds.release(DEMO, hold.hold_id)

    with pytest.raises(HoldNotActive):
        await service(core, step=release).confirm(DEMO, wanted(hold), key())
    assert await nothing_was_left(rows)
    now = await counts()
    assert (now.sold, now.held) == ((0, 0), (0, 0))


async def test_settled_between_pin_and_transaction_it_is_pinned_again(
    core: Core, place: Place, counts: Counts, rows: Rows
) -> None:
    hold = await place()

    async def settle() -> None:
        await core.claims.settle(hold.hold_id)

    await service(core, step=settle).confirm(DEMO, wanted(hold), key())
    assert (await counts()).sold == (1, 0)
    (journal,) = await rows("SELECT state, fence FROM hold_journal")
    assert journal["state"] == "CONFIRMED"
    assert journal["fence"] > 1


async def test_a_fence_of_before_sells_nothing_although_the_hold_ran_out_meanwhile(
    start_core: StartCore, rows: Rows
) -> None:
    """A frozen booking wakes up: its hold was settled, ran out, and the seat is another's."""
    core = await start_core(ttl=SECOND)
    holds, hold = await last_seat(core)
    rival: list[Hold] = []

    async def freeze() -> None:
        await core.claims.settle(hold.hold_id)
        await clock_passes(hold.expires_at)
        rival.append((await holds.place(DEMO, request(("flt_last", "Y")), key())).value)

    with pytest.raises(HoldExpired):
        await service(core, step=freeze).confirm(DEMO, wanted(hold), key())
    await service(core).confirm(DEMO, wanted(rival[0]), key())
    assert [row["hold_id"] for row in await rows("SELECT hold_id FROM bookings")] == [
        rival[0].hold_id
    ]


async def test_while_an_epoch_is_being_ended_a_booking_waits_a_moment(
    core: Core, place: Place, counts: Counts
) -> None:
    hold = await place()

    async def close_the_gate() -> None:
        await _execute(
            core,
            "UPDATE epoch_gate SET closing_until = clock_timestamp() + interval '150 milliseconds'",
        )

    await service(core, step=close_the_gate).confirm(DEMO, wanted(hold), key())
    assert (await counts()).sold == (1, 0)


async def test_without_an_epoch_a_journaled_hold_is_booked_from_the_journal(
    core: Core, holds: HoldService, place: Place, rows: Rows
) -> None:
    hold, other = await place(), await place()
    await holds.release(DEMO, other.hold_id)
    await core.redis.flushdb()
    await _execute(core, "UPDATE redis_epoch SET epoch = epoch + 1, mode = 'rebuilding'")

    booked = await service(core).confirm(DEMO, wanted(hold), key())
    with pytest.raises(HoldNotActive):
        await service(core).confirm(DEMO, wanted(other), key())

    assert booked.value.hold_id == hold.hold_id
    await core.background.drain(5)
    await core.guardian.ensure_open()
    now = await numbers(core, SOUTH)
    assert (now.sold, now.held) == ((1, 0), (0, 0))


async def test_a_hold_that_redis_lost_sight_of_is_not_refused(
    core: Core, place: Place, rows: Rows
) -> None:
    hold = await place()
    epoch = await core.epochs.current()
    await core.redis.delete(f"{{hf}}:{epoch}:h:{hold.hold_id}")
    with pytest.raises(HoldStoreUnavailable):
        await service(core).confirm(DEMO, wanted(hold), key())
    assert await rows("SELECT state FROM hold_journal") == [{"state": "HELD"}]


async def test_a_second_request_waits_for_the_first_and_then_says_so(
    core: Core, place: Place, postgres: Postgres, empty_database: str, rows: Rows
) -> None:
    hold, same = await place(), key("slow")
    first: asyncpg.Connection = await postgres.connect(empty_database.rpartition("/")[2])
    try:
        async with first.transaction():
            await first.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            await first.execute(
                "INSERT INTO idempotency_records VALUES ('demo', 'bookings.confirm', 'slow', 'x',"
                " 'bkg_x', '{}', now(), now())"
            )
            with pytest.raises(IdempotencyInFlight):
                await service(core).confirm(DEMO, wanted(hold), same)
            await first.execute("DELETE FROM idempotency_records")
    finally:
        await first.close()
    assert not (await service(core).confirm(DEMO, wanted(hold), same)).replayed


# Half way ----------------------------------------------------------------------------------------


async def test_a_crash_after_the_commit_leaves_the_seat_taken_and_settling_repairs(
    start_core: StartCore, rows: Rows
) -> None:
    core = await start_core(ttl=SECOND)
    holds, hold = await last_seat(core)
    same = key()
    first = await service(core, background=Crashed()).confirm(DEMO, wanted(hold), same)

    assert await memo_of(core, hold) is MemoState.PINNED
    await clock_passes(hold.expires_at)
    await core.expirer.once()
    assert await is_sold_out(holds)
    assert (await holds.get(DEMO, hold.hold_id)).status is HoldStatus.BOOKED
    again = await service(core).confirm(DEMO, wanted(hold), same)
    assert (again.value, again.replayed) == (first.value, True)

    await core.claims.settle(hold.hold_id)

    now = await numbers(core)
    assert (now.sold, now.held) == ((1,), (0,))
    assert await memo_of(core, hold) is MemoState.SOLD
    assert await is_sold_out(holds)


async def test_an_answer_lost_on_commit_is_found_out_again(
    core: Core, place: Place, counts: Counts, empty_database: str, rows: Rows
) -> None:
    hold = await place()
    database = Forgetful(empty_database, commits=True)
    try:
        answered = await service(core, database=database).confirm(DEMO, wanted(hold), key())
    finally:
        await database.close()
    assert not answered.replayed
    assert len(await rows("SELECT 1 FROM bookings")) == len(await rows("SELECT 1 FROM outbox")) == 1
    now = await counts()
    assert (now.sold, now.held) == ((1, 0), (0, 0))


async def test_a_commit_that_never_arrived_is_told_as_such_and_the_hold_lives(
    core: Core, holds: HoldService, place: Place, empty_database: str, rows: Rows
) -> None:
    hold, same = await place(), key()
    database = Forgetful(empty_database, commits=False)
    try:
        with pytest.raises(DatabaseUnavailable):
            await service(core, database=database).confirm(DEMO, wanted(hold), same)
    finally:
        await database.close()
    assert await nothing_was_left(rows)
    await core.background.drain(5)
    assert await memo_of(core, hold) is MemoState.HELD
    assert not (await service(core).confirm(DEMO, wanted(hold), same)).replayed


async def test_a_cancellation_lost_on_commit_is_asked_again(
    core: Core, place: Place, counts: Counts, empty_database: str, rows: Rows
) -> None:
    booked = (await service(core).confirm(DEMO, wanted(await place()), key())).value
    database = Forgetful(empty_database, commits=True)
    try:
        answered = await service(core, database=database).cancel(DEMO, booked.booking_id, key())
    finally:
        await database.close()
    assert (answered.value.version, answered.replayed) == (2, False)
    assert (await counts()).sold == (0, 0)
    assert len(await rows("SELECT 1 FROM outbox")) == 2


async def test_seats_that_are_gone_after_all_stop_the_booking_whole(
    core: Core, holds: HoldService, place: Place, rows: Rows
) -> None:
    """It takes a fault in the protocol to get here; the guard in Postgres does not depend on it."""
    hold = await place((SOUTH, "M"), ("flt_north", "Y"), adults=2)
    await _execute(
        core,
        "UPDATE inventory SET sold = '{0,5}', sold_total = 5 WHERE flight_id = 'flt_south'",
    )
    with pytest.raises(SoldOut) as refused:
        await service(core).confirm(DEMO, wanted(hold), key())
    assert refused.value.violations[0].facts["flight_id"] == SOUTH
    assert await rows("SELECT 1 FROM bookings UNION ALL SELECT 1 FROM outbox") == []
    assert await rows("SELECT 1 FROM idempotency_records") == []
    (north,) = await rows("SELECT sold_total FROM inventory WHERE flight_id = 'flt_north'")
    assert north["sold_total"] == 0
    await core.background.drain(5)
    assert (await holds.get(DEMO, hold.hold_id)).status is HoldStatus.ACTIVE


async def _execute(core: Core, statement: str) -> None:
    async def execute(session: WriteSession) -> None:
        await session.execute(text(statement))

    await core.database.run_in_transaction(execute)
