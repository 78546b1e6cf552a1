"""Two bookings of one hold, and what the one that failed may undo: only what the journal allowed it."""

from app.hold.model import MemoState
from app.hold.repairs.expirer import Expirer
from app.hold.repairs.resolver import Resolver
from tests.booking.conftest import Rows
from tests.booking.staging import (
    SECOND,
    clock_passes,
    is_sold_out,
    memo_of,
    numbers,
    service,
)
from tests.builders.bookings import wanted
from tests.builders.holds import DEMO, key, no_offers
from tests.fixtures.core import StartCore
from tests.hold.histories.steps import hold_one, on_sale, transaction_of_booking


async def test_a_failed_booking_cannot_let_go_of_what_its_retry_has_pinned(
    start_core: StartCore, rows: Rows
) -> None:
    """Pinning is repeatable, so both have one fence: to unpin by an equal one would free the retry's
    seat, which time then gives to somebody else before the retry commits.
    """
    failed, retry = await start_core(ttl=SECOND), await start_core(ttl=SECOND)
    holds = await on_sale(failed, 1)
    hold = await hold_one(holds)
    first = await failed.pins.pin(hold.hold_id)  # and its transaction is rolled back
    second = await retry.pins.pin(hold.hold_id)
    assert first == second
    assert first.epoch is not None
    assert first.fencing_token is not None

    await failed.epochs_in_redis.life(first.epoch).holds.unpin(hold.hold_id, first.fencing_token)
    await clock_passes(hold.expires_at)
    await failed.repairs[Expirer].run_once()

    assert await is_sold_out(holds), "the seat is the retry's"
    assert await transaction_of_booking(retry, second)
    assert await retry.repairs[Resolver].run_once(pinned_for=0 * SECOND) == 1
    now = await numbers(retry)
    assert (now.sold, now.held) == ((1,), (0,))
    assert await rows("SELECT state FROM hold_journal") == [{"state": "CONFIRMED"}]


async def test_who_lets_go_of_a_failed_booking_has_stopped_its_retry_first(
    start_core: StartCore, rows: Rows
) -> None:
    failed, retry = await start_core(ttl=2 * SECOND), await start_core(ttl=2 * SECOND)
    holds = await on_sale(failed, 1)
    hold = await hold_one(holds)
    await failed.pins.pin(hold.hold_id)
    frozen = await retry.pins.pin(hold.hold_id)

    await failed.pins.settle(hold.hold_id)
    assert await memo_of(failed, hold) is MemoState.HELD, "a hold again, on its own time"
    await clock_passes(hold.expires_at)
    heir = await hold_one(retry.holds(no_offers))

    assert not await transaction_of_booking(retry, frozen), "its fence is one of before"
    await service(retry).confirm(DEMO, wanted(heir), key())
    assert await rows("SELECT hold_id FROM bookings") == [{"hold_id": heir.hold_id}]


async def test_a_settled_retry_pins_again_and_books(start_core: StartCore, rows: Rows) -> None:
    """The other way round: while its own time lasts, nobody loses the hold by another's failure."""
    failed, retry = await start_core(), await start_core()
    hold = await hold_one(await on_sale(failed, 1))
    await failed.pins.pin(hold.hold_id)

    async def settle() -> None:
        await failed.pins.settle(hold.hold_id)

    await service(retry, after_pin=settle).confirm(DEMO, wanted(hold), key())
    await retry.background.drain(5)
    now = await numbers(retry)
    assert (now.sold, now.held) == ((1,), (0,))
