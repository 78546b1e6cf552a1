"""Bookings as a client knows them, on real PostgreSQL and Valkey."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from app.booking.errors import DuplicateBooking
from app.booking.model import BookingStatus, Contact, counted
from app.booking.service import BookingService
from app.errors import IdempotencyKeyReused, NotFound, ValidationFailed
from app.hold.errors import HoldNotActive, NotForSale
from app.hold.model import HoldStatus
from app.hold.service import HoldService
from app.ids import BookingId, FlightId, HoldId, booking_id
from app.inventory.model import CabinName
from app.money import Money
from app.schedule.changes import CabinChange, ClassChange
from app.schedule.service import ScheduleService
from app.wiring import Core
from tests.booking.conftest import NORTH, SOUTH, Counts, Place, Rows
from tests.builders.bookings import booking_service, passenger, wanted
from tests.builders.flights import DEPARTING
from tests.builders.holds import DEMO, RIVAL, key


async def test_a_booking_sells_every_segment_at_the_held_price(
    holds: HoldService, bookings: BookingService, place: Place, counts: Counts
) -> None:
    hold = await place((SOUTH, "M"), (NORTH, "Y"), adults=2, children=1, infants=1)

    answered = await bookings.confirm(DEMO, wanted(hold, client_reference="order-1"), key())

    booking = answered.value
    assert not answered.replayed
    assert (booking.booking_id, booking.hold_id) == (booking_id(hold.hold_id), hold.hold_id)
    assert (booking.status, booking.version) == (BookingStatus.CONFIRMED, 1)
    assert (booking.segments, booking.price) == (hold.segments, hold.price)
    assert (booking.client_reference, booking.cancelled_at) == ("order-1", None)
    assert counted(booking.passengers) == hold.passengers
    assert await bookings.get(DEMO, booking.booking_id) == booking
    south, north = await counts(SOUTH), await counts(NORTH)
    assert (south.sold, south.held) == ((0, 3), (0, 0))
    assert (north.sold, north.held) == ((3, 0), (0, 0))
    booked = await holds.get(DEMO, hold.hold_id)
    assert (booked.status, booked.booking_id) == (HoldStatus.BOOKED, booking.booking_id)


async def test_the_same_key_gets_the_first_answer_whatever_became_of_it(
    bookings: BookingService, place: Place, rows: Rows
) -> None:
    hold = await place()
    same, asked = key(), wanted(hold)
    first = await bookings.confirm(DEMO, asked, same)
    again = await bookings.confirm(DEMO, asked, same)
    await bookings.cancel(DEMO, first.value.booking_id, None)
    after_cancel = await bookings.confirm(DEMO, asked, same)

    assert (first.replayed, again.replayed, after_cancel.replayed) == (False, True, True)
    assert first.value == again.value == after_cancel.value
    assert len(await rows("SELECT 1 FROM bookings")) == 1


async def test_a_key_is_for_one_request(bookings: BookingService, place: Place) -> None:
    hold, other = await place(), await place()
    await bookings.confirm(DEMO, wanted(hold), key("mine"))
    with pytest.raises(IdempotencyKeyReused):
        await bookings.confirm(DEMO, wanted(other), key("mine", body="b"))


async def test_a_hold_is_booked_once(bookings: BookingService, place: Place) -> None:
    hold = await place()
    await bookings.confirm(DEMO, wanted(hold), key())
    with pytest.raises(HoldNotActive):
        await bookings.confirm(DEMO, wanted(hold), key())


async def test_a_released_hold_is_not_booked(
    holds: HoldService, bookings: BookingService, place: Place
) -> None:
    hold = await place()
    await holds.release(DEMO, hold.hold_id)
    with pytest.raises(HoldNotActive):
        await bookings.confirm(DEMO, wanted(hold), key())


@pytest.mark.parametrize(
    "hold_id", ["hold_" + "a" * 26, "hold_", "nonsense", "bkg_" + "a" * 26, "hold_\ud7ff"]
)
async def test_an_unknown_hold_is_not_found(
    bookings: BookingService, place: Place, hold_id: str
) -> None:
    hold = await place()
    with pytest.raises(NotFound):
        await bookings.confirm(DEMO, wanted(hold, hold_id=HoldId(hold_id)), key())


async def test_what_does_not_fit_the_promise_is_refused_before_the_state(
    holds: HoldService, bookings: BookingService, place: Place, counts: Counts
) -> None:
    hold = await place(adults=2)
    await holds.release(DEMO, hold.hold_id)
    with pytest.raises(ValidationFailed) as refused:
        await bookings.confirm(
            DEMO, wanted(hold, travellers=[passenger()], amount=Money(1, "CLP")), key()
        )
    assert [violation.at for violation in refused.value.violations] == [
        "/passengers",
        "/payment/amount",
    ]


async def test_a_refused_request_touches_nothing_and_may_be_put_right(
    holds: HoldService, bookings: BookingService, place: Place, rows: Rows
) -> None:
    hold = await place()
    with pytest.raises(ValidationFailed):
        await bookings.confirm(DEMO, wanted(hold, amount=Money(1, "CLP")), key("k"))
    assert (await holds.get(DEMO, hold.hold_id)).status is HoldStatus.ACTIVE
    assert await rows("SELECT 1 FROM idempotency_records") == []
    assert not (await bookings.confirm(DEMO, wanted(hold), key("k", body="b"))).replayed


async def test_a_departed_flight_is_not_sold(
    core: Core, holds: HoldService, place: Place, counts: Counts
) -> None:
    hold = await place()
    later = replace(core, clock=lambda: hold.segments[0].departing_at.utc + timedelta(seconds=1))
    assert hold.segments[0].departing_at.local == DEPARTING
    with pytest.raises(NotForSale):
        await booking_service(later).confirm(DEMO, wanted(hold), key())
    assert (await counts()).held == (1, 0)


async def test_a_client_reference_names_one_booking_of_its_tenant(
    holds: HoldService, bookings: BookingService, place: Place
) -> None:
    first = await bookings.confirm(DEMO, wanted(await place(), client_reference="r"), key())
    hold = await place()
    with pytest.raises(DuplicateBooking) as refused:
        await bookings.confirm(DEMO, wanted(hold, client_reference="r"), key())
    assert refused.value.facts == {"booking_id": first.value.booking_id}
    assert (await holds.get(DEMO, hold.hold_id)).status is HoldStatus.ACTIVE
    theirs = await place(tenant_id=RIVAL)
    await bookings.confirm(RIVAL, wanted(theirs, client_reference="r"), key())


async def test_two_bookings_at_once_with_one_client_reference(
    core: Core, holds: HoldService, bookings: BookingService, place: Place, rows: Rows
) -> None:
    pair = [await place(), await place()]
    answers = await asyncio.gather(
        *(bookings.confirm(DEMO, wanted(one, client_reference="r"), key()) for one in pair),
        return_exceptions=True,
    )
    assert sum(isinstance(answer, DuplicateBooking) for answer in answers) == 1
    assert len(await rows("SELECT 1 FROM bookings")) == 1
    await core.background.drain(5)
    statuses = {(await holds.get(DEMO, one.hold_id)).status for one in pair}
    assert statuses == {HoldStatus.BOOKED, HoldStatus.ACTIVE}


async def test_a_locator_that_clashes_is_drawn_again(
    core: Core, holds: HoldService, place: Place
) -> None:
    drawn = iter(["AAAAAA", "AAAAAA", "AAAAAA", "BBBBBB"])
    bookings = booking_service(core, lambda: next(drawn))
    first = await bookings.confirm(DEMO, wanted(await place()), key())
    theirs = await place(tenant_id=RIVAL)
    second = await bookings.confirm(RIVAL, wanted(theirs), key())
    assert first.value.record_locator == "AAAAAA"
    assert second.value.record_locator == "BBBBBB"
    assert (await bookings.get(RIVAL, second.value.booking_id)).record_locator == "BBBBBB"


async def test_a_booking_is_found_by_its_locator_and_any_family_name(
    bookings: BookingService, place: Place
) -> None:
    hold = await place(adults=2)
    travellers = [passenger(family_name="Muñoz Vélez"), passenger(family_name="Weiß")]
    booked = (await bookings.confirm(DEMO, wanted(hold, travellers=travellers), key())).value

    for name in ("Muñoz Vélez", "MUNOZ  VELEZ", "weiss"):
        assert await bookings.find(DEMO, booked.record_locator, name) == booked
    for tenant_id, locator, name in (
        (DEMO, booked.record_locator, "Munoz"),
        (DEMO, booked.record_locator, "%"),
        (DEMO, "ZZZZZZ", "weiss"),
        (RIVAL, booked.record_locator, "weiss"),
    ):
        with pytest.raises(NotFound) as refused:
            await bookings.find(tenant_id, locator, name)
        assert refused.value.detail == "There is no such booking."


async def test_another_tenant_sees_and_touches_nothing(
    bookings: BookingService, place: Place, counts: Counts
) -> None:
    hold = await place()
    with pytest.raises(NotFound):
        await bookings.confirm(RIVAL, wanted(hold), key("same"))
    booked = (await bookings.confirm(DEMO, wanted(hold), key("same"))).value
    with pytest.raises(NotFound):
        await bookings.get(RIVAL, booked.booking_id)
    with pytest.raises(NotFound):
        await bookings.cancel(RIVAL, booked.booking_id, key())
    with pytest.raises(NotFound):  # the same key of another tenant is another key
        await bookings.confirm(RIVAL, wanted(hold), key("same"))
    assert (await counts()).sold == (1, 0)


async def test_a_limit_below_what_is_taken_takes_nothing_away(
    core: Core, bookings: BookingService, place: Place, counts: Counts
) -> None:
    hold = await place((SOUTH, "M"), adults=4)
    schedule = ScheduleService(core.database, core.availability, core.clock)
    change = CabinChange(CabinName.ECONOMY, (ClassChange("Y", limit=1), ClassChange("M", limit=0)))
    await schedule.patch(FlightId(SOUTH), [change])

    await bookings.confirm(DEMO, wanted(hold), key())

    now = await counts()
    assert (now.limits, now.sold, now.open) == ((1, 0), (0, 4), (0, 0))


async def test_cancelling_gives_the_seats_back(
    bookings: BookingService, place: Place, counts: Counts, rows: Rows
) -> None:
    hold = await place((SOUTH, "M"), (NORTH, "Y"), adults=2)
    booked = (await bookings.confirm(DEMO, wanted(hold), key())).value

    answered = await bookings.cancel(DEMO, booked.booking_id, None)

    cancelled = answered.value
    assert (cancelled.status, cancelled.version) == (BookingStatus.CANCELLED, 2)
    assert cancelled.cancelled_at is not None
    assert cancelled.cancelled_at >= cancelled.created_at
    assert replace(cancelled, status=booked.status, version=1, cancelled_at=None) == booked
    assert (await counts(SOUTH)).sold == (await counts(NORTH)).sold == (0, 0)
    assert await bookings.get(DEMO, booked.booking_id) == cancelled


async def test_cancelling_again_changes_nothing(
    bookings: BookingService, place: Place, counts: Counts, rows: Rows
) -> None:
    booked = (await bookings.confirm(DEMO, wanted(await place()), key())).value
    await bookings.confirm(DEMO, wanted(await place()), key())
    first = await bookings.cancel(DEMO, booked.booking_id, key("c"))
    again = await bookings.cancel(DEMO, booked.booking_id, key("c"))
    without_key = await bookings.cancel(DEMO, booked.booking_id, None)

    assert (first.replayed, again.replayed, without_key.replayed) == (False, True, False)
    assert first.value == again.value == without_key.value
    assert (await counts()).sold == (1, 0)
    assert len(await rows("SELECT 1 FROM outbox WHERE type = 'booking.cancelled'")) == 1


async def test_a_cancellations_key_is_for_one_booking(
    bookings: BookingService, place: Place
) -> None:
    one, other = [
        (await bookings.confirm(DEMO, wanted(await place()), key())).value for _ in range(2)
    ]
    await bookings.cancel(DEMO, one.booking_id, key("c"))
    with pytest.raises(IdempotencyKeyReused):
        await bookings.cancel(DEMO, other.booking_id, key("c"))
    assert (await bookings.get(DEMO, other.booking_id)).status is BookingStatus.CONFIRMED


async def test_an_unknown_booking_is_not_cancelled_and_its_key_is_not_used_up(
    bookings: BookingService, rows: Rows
) -> None:
    with pytest.raises(NotFound):
        await bookings.cancel(DEMO, BookingId("bkg_" + "a" * 26), key())
    assert await rows("SELECT 1 FROM idempotency_records") == []


async def test_eight_cancellations_at_once_give_back_once(
    bookings: BookingService, place: Place, counts: Counts, rows: Rows
) -> None:
    booked = (await bookings.confirm(DEMO, wanted(await place(adults=2)), key())).value
    await bookings.confirm(DEMO, wanted(await place(adults=3)), key())

    answers = await asyncio.gather(
        *(bookings.cancel(DEMO, booked.booking_id, None) for _ in range(8))
    )

    assert len({answer.value for answer in answers}) == 1
    assert (await counts()).sold == (3, 0)
    found = await rows("SELECT sold, sold_total FROM inventory WHERE flight_id = 'flt_south'")
    assert found == [{"sold": [3, 0], "sold_total": 3}]
    assert len(await rows("SELECT 1 FROM outbox WHERE type = 'booking.cancelled'")) == 1


async def test_a_cancellation_is_never_told_to_be_before_its_booking(
    core: Core, bookings: BookingService, place: Place, rows: Rows
) -> None:
    booked = (await bookings.confirm(DEMO, wanted(await place()), key())).value
    slow = replace(core, clock=lambda: booked.created_at - timedelta(minutes=5))
    cancelled = (await booking_service(slow).cancel(DEMO, booked.booking_id, None)).value
    assert cancelled.cancelled_at == booked.created_at


async def test_one_event_for_each_thing_that_happened(
    bookings: BookingService, place: Place, rows: Rows
) -> None:
    hold = await place((SOUTH, "M"), (NORTH, "Y"), adults=2, infants=1)
    booked = (await bookings.confirm(DEMO, wanted(hold), key())).value
    cancelled = (await bookings.cancel(DEMO, booked.booking_id, None)).value

    told = await rows("SELECT * FROM outbox ORDER BY sequence")

    assert [(one["type"], one["sequence"], one["aggregate_id"]) for one in told] == [
        ("booking.confirmed", 1, booked.booking_id),
        ("booking.cancelled", 2, booked.booking_id),
    ]
    assert {(one["tenant_id"], one["aggregate_type"], one["version"]) for one in told} == {
        (DEMO, "booking", 1)
    }
    assert [one["occurred_at"] for one in told] == [booked.created_at, cancelled.cancelled_at]
    assert (
        told[0]["data"]
        == told[1]["data"]
        == {
            "booking_id": booked.booking_id,
            "hold_id": hold.hold_id,
            "segments": [
                {"flight_id": SOUTH, "booking_class": "M", "seats": 2},
                {"flight_id": NORTH, "booking_class": "Y", "seats": 2},
            ],
            "passengers": {"ADT": 2, "CHD": 0, "INF": 1},
            "price": {"amount": hold.price.total.amount, "currency": "CLP"},
        }
    )


async def test_nothing_personal_leaves_the_bookings_tables(
    core: Core, bookings: BookingService, place: Place, rows: Rows
) -> None:
    hold = await place()
    traveller = passenger(given_name="Canaria", family_name="Zeisig")
    asked = wanted(
        hold,
        travellers=[traveller],
        contact=Contact("canary@example.com", "+56955555555"),
        reference="canary-paid",
        client_reference="canary-ref",
    )
    booked = (await bookings.confirm(DEMO, asked, key())).value
    await bookings.cancel(DEMO, booked.booking_id, key())
    await core.background.drain(5)

    elsewhere = [
        str(row)
        for table in ("outbox", "idempotency_records", "hold_journal", "inventory", "flights")
        for row in await rows(f"SELECT * FROM {table}")
    ]
    assert len(elsewhere) > 5
    elsewhere += [repr(kept) for kept in await _everything_in_redis(core)]
    secrets = ("canar", "zeisig", "955555555", "1990", booked.record_locator.lower())
    for text in elsewhere:
        assert not [secret for secret in secrets if secret in text.lower()], text


async def _everything_in_redis(core: Core) -> list[object]:
    kept: list[object] = []
    async for name in core.redis.scan_iter(count=1000):
        match await core.redis.type(name):
            case b"string":
                value: object = await core.redis.get(name)
            case b"hash":
                value = await core.redis.hgetall(name)
            case b"zset":
                value = await core.redis.zrange(name, 0, -1, withscores=True)
            case b"set":
                value = await core.redis.smembers(name)
            case other:
                raise AssertionError(f"no key is a {other!r}")
        kept.append((name, value))
    assert kept
    return kept
