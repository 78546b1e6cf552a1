"""Bookings that come at once share a transaction; each is judged as if it had been alone."""

import asyncio
from collections import Counter

from sqlalchemy import text

from app.booking.errors import DuplicateBooking
from app.booking.model import Booking, BookingStatus
from app.booking.service import BookingService
from app.dev.postgres import Postgres
from app.hold.errors import HoldNotActive
from app.hold.model import Hold
from app.hold.service import HoldService
from app.idempotency.model import Answered
from app.storage.database import WriteSession
from app.wiring import Core
from tests.booking.conftest import NORTH, SOUTH, Counts, Place, Rows
from tests.builders.bookings import wanted
from tests.builders.holds import DEMO, key


async def held(place: Place, count: int) -> list[Hold]:
    """On both flights, in both classes; six of ten seats may be M."""
    choices = [[(SOUTH, "M"), (NORTH, "Y")] if i % 2 else [(NORTH, "M")] for i in range(count)]
    return [await place(*chosen) for chosen in choices]


async def transactions(rows: Rows) -> int:
    """How many transactions wrote the bookings that there are."""
    found = await rows("SELECT count(DISTINCT xmin::text) AS number FROM bookings")
    return int(found[0]["number"])


async def test_many_at_once_are_sold_in_few_transactions_and_counted_each(
    bookings: BookingService, core: Core, place: Place, rows: Rows, counts: Counts
) -> None:
    holds = await held(place, 8)
    booked = await asyncio.gather(*(bookings.confirm(DEMO, wanted(hold), key()) for hold in holds))
    assert [answer.value.hold_id for answer in booked] == [hold.hold_id for hold in holds]
    assert [answer.value.segments for answer in booked] == [hold.segments for hold in holds]
    assert await transactions(rows) <= 4
    await core.background.drain(5)
    south, north = await counts(SOUTH), await counts(NORTH)
    assert (south.sold, south.held) == ((0, 4), (0, 0))
    assert (north.sold, north.held) == ((4, 4), (0, 0))
    told = await rows("SELECT aggregate_id, sequence FROM outbox")
    assert Counter(row["aggregate_id"] for row in told) == Counter(
        answer.value.booking_id for answer in booked
    )


async def test_one_that_is_refused_takes_nobody_with_it(
    bookings: BookingService, place: Place, holds: HoldService, rows: Rows, core: Core
) -> None:
    four = await held(place, 4)
    await bookings.confirm(DEMO, wanted(four[0], client_reference="trip-1"), key())

    async def release_behind_redis(session: WriteSession) -> None:
        await session.execute(
            text("UPDATE hold_journal SET state = 'RELEASED' WHERE hold_id = :hold_id"),
            {"hold_id": four[1].hold_id},
        )

    asked = [
        wanted(four[1]),
        wanted(four[2], client_reference="trip-2"),
        wanted(four[3], client_reference="trip-2"),
    ]
    looked = [bookings._confirmation._look_up(DEMO, request, key()) for request in asked]
    orders = [order for order in await asyncio.gather(*looked) if not isinstance(order, Booking)]
    await core.database.run_in_transaction(release_behind_redis)
    answers = await asyncio.gather(
        *map(bookings._confirmation._pin_and_book, orders), return_exceptions=True
    )
    assert isinstance(answers[0], HoldNotActive)
    sold = [answer for answer in answers if isinstance(answer, Answered)]
    assert len(sold) == 1, "one of two with one client reference"
    assert any(isinstance(answer, DuplicateBooking) for answer in answers)
    assert len(await rows("SELECT 1 FROM bookings")) == 2


async def test_one_that_must_wait_for_another_transaction_keeps_nobody_waiting(
    bookings: BookingService,
    place: Place,
    postgres: Postgres,
    empty_database: str,
    core: Core,
) -> None:
    holds = await held(place, 4)
    blocker = await postgres.connect(empty_database.rpartition("/")[2])
    try:
        async with blocker.transaction():
            await blocker.execute(
                "SELECT 1 FROM hold_journal WHERE hold_id = $1 FOR UPDATE", holds[0].hold_id
            )
            asked = [
                asyncio.create_task(bookings.confirm(DEMO, wanted(hold), key())) for hold in holds
            ]
            async with asyncio.timeout(1.5):
                await asyncio.gather(*asked[1:])
            assert not asked[0].done()
        await asked[0]
    finally:
        await blocker.close()


async def test_seats_of_one_class_are_counted_together_and_never_past_the_ceiling(
    core: Core, bookings: BookingService, place: Place, rows: Rows
) -> None:
    """Redis is told that there is room where there is none: the guard refuses who does not fit."""
    first = await place((SOUTH, "M"))
    await bookings.confirm(DEMO, wanted(first), key())
    await core.background.drain(5)
    others = [await place((SOUTH, "M")) for _ in range(5)]

    async def close_behind_redis(session: WriteSession) -> None:
        await session.execute(
            text("UPDATE inventory SET ceilings = ARRAY[10, 4] WHERE flight_id = :flight_id"),
            {"flight_id": SOUTH},
        )

    await core.database.run_in_transaction(close_behind_redis)
    answers = await asyncio.gather(
        *(bookings.confirm(DEMO, wanted(hold), key()) for hold in others), return_exceptions=True
    )
    assert sum(isinstance(answer, Answered) for answer in answers) == 3
    (row,) = await rows("SELECT sold FROM inventory WHERE flight_id = 'flt_south'")
    assert row["sold"] == [0, 4]


async def test_many_cancelled_at_once_give_back_each_seat_once(
    bookings: BookingService, core: Core, place: Place, rows: Rows, counts: Counts
) -> None:
    holds = await held(place, 6)
    booked = await asyncio.gather(*(bookings.confirm(DEMO, wanted(hold), key()) for hold in holds))
    ids = [answer.value.booking_id for answer in booked]
    again = [ids[0], ids[0]]  # one of them twice more, under keys of their own
    answers = await asyncio.gather(*(bookings.cancel(DEMO, id_, key()) for id_ in [*ids, *again]))
    assert {answer.value.status for answer in answers} == {BookingStatus.CANCELLED}
    assert [answer.value.booking_id for answer in answers] == [*ids, *again]
    written = await rows("SELECT DISTINCT xmin::text FROM outbox WHERE sequence = 2")
    assert len(written) <= 3
    assert len(await rows("SELECT 1 FROM outbox WHERE sequence = 2")) == 6
    await core.background.drain(5)
    for flight_id in (SOUTH, NORTH):
        assert (await counts(flight_id)).sold == (0, 0)
