"""Bookings that meet others: many at once, or another party between two steps of one."""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from typing import Any

import asyncpg
import pytest

from app.booking.model import Booking
from app.booking.service import BookingService
from app.dev.postgres import Postgres
from app.errors import HoldStoreUnavailable, IdempotencyInFlight
from app.hold.errors import HoldExpired, HoldNotActive
from app.hold.model import Hold, HoldStatus
from app.hold.service import HoldService
from app.idempotency.model import Answered
from app.wiring import Core
from tests.booking.conftest import SOUTH, Counts, Place, Rows
from tests.booking.staging import (
    SECOND,
    clock_passes,
    execute,
    last_seat,
    nothing_was_left,
    numbers,
    service,
)
from tests.builders.bookings import wanted
from tests.builders.flights import flight
from tests.builders.holds import DEMO, key, no_offers, request
from tests.fixtures.core import StartCore, sell_from


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


async def test_released_between_pin_and_transaction_it_is_not_sold(
    core: Core, holds: HoldService, place: Place, counts: Counts, rows: Rows
) -> None:
    hold = await place()

    async def release() -> None:
        await holds.release(DEMO, hold.hold_id)

    with pytest.raises(HoldNotActive):
        await service(core, after_pin=release).confirm(DEMO, wanted(hold), key())
    assert await nothing_was_left(rows)
    now = await counts()
    assert (now.sold, now.held) == ((0, 0), (0, 0))


async def test_settled_between_pin_and_transaction_it_is_pinned_again(
    core: Core, place: Place, counts: Counts, rows: Rows
) -> None:
    hold = await place()

    async def settle() -> None:
        await core.pins.settle(hold.hold_id)

    await service(core, after_pin=settle).confirm(DEMO, wanted(hold), key())
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
        await core.pins.settle(hold.hold_id)
        await clock_passes(hold.expires_at)
        rival.append((await holds.place(DEMO, request(("flt_last", "Y")), key())).value)

    with pytest.raises(HoldExpired):
        await service(core, after_pin=freeze).confirm(DEMO, wanted(hold), key())
    await service(core).confirm(DEMO, wanted(rival[0]), key())
    assert [row["hold_id"] for row in await rows("SELECT hold_id FROM bookings")] == [
        rival[0].hold_id
    ]


async def test_a_key_that_was_answered_meanwhile_gets_that_answer(
    core: Core, place: Place, rows: Rows
) -> None:
    hold, same = await place(), key()
    first: list[Answered[Booking]] = []

    async def answer() -> None:
        first.append(await service(core).confirm(DEMO, wanted(hold), same))
        await core.background.drain(5)

    again = await service(core, before_pin=answer).confirm(DEMO, wanted(hold), same)

    assert (again.value, again.replayed) == (first[0].value, True)
    assert len(await rows("SELECT 1 FROM bookings")) == 1


async def test_a_pin_of_an_epoch_that_is_over_sells_nothing(start_core: StartCore) -> None:
    """Redis is lost and rebuilt while a booking is frozen; in the new epoch its hold runs out."""
    core = await start_core(ttl=2 * SECOND)
    holds, hold = await last_seat(core)
    rival: list[Hold] = []

    async def freeze() -> None:
        await core.redis.flushdb()
        await core.guardian.ensure_open()
        await clock_passes(hold.expires_at)
        rival.append((await holds.place(DEMO, request(("flt_last", "Y")), key())).value)

    with pytest.raises(HoldExpired):
        await service(core, after_pin=freeze).confirm(DEMO, wanted(hold), key())
    booked = await service(core).confirm(DEMO, wanted(rival[0]), key())
    assert booked.value.hold_id == rival[0].hold_id


async def test_while_an_epoch_is_being_ended_a_booking_waits_a_moment(
    core: Core, place: Place, counts: Counts, rows: Rows
) -> None:
    hold = await place()

    async def close_the_gate() -> None:
        await execute(
            core,
            "UPDATE epoch_gate SET closing_until = clock_timestamp() + interval '150 milliseconds'",
        )

    booked = await service(core, after_pin=close_the_gate).confirm(DEMO, wanted(hold), key())
    (gate,) = await rows("SELECT closing_until FROM epoch_gate")
    assert booked.value.created_at >= gate["closing_until"]
    assert (await counts()).sold == (1, 0)


async def test_without_an_epoch_a_journaled_hold_is_booked_from_the_journal(
    core: Core, holds: HoldService, place: Place, rows: Rows
) -> None:
    hold, other = await place(), await place()
    await holds.release(DEMO, other.hold_id)
    await core.redis.flushdb()
    await execute(core, "UPDATE redis_epoch SET epoch = epoch + 1, mode = 'rebuilding'")

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
    epoch = await core.epochs.number()
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
