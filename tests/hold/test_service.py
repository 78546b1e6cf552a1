"""Holds as a client knows them, on real PostgreSQL and Valkey."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from app.errors import IdempotencyKeyReused, NotFound, ValidationFailed
from app.hold.errors import (
    ExtensionLimitReached,
    HoldExpired,
    HoldNotActive,
    NotForSale,
    SoldOut,
)
from app.hold.journal import store as journal
from app.hold.model import Hold, HoldRequest, HoldStatus, JournalEntry, MemoState
from app.hold.repairs.expirer import Expirer
from app.hold.service import HoldService
from app.ids import FlightId, HoldId
from app.inventory.model import CabinName
from app.money import Money
from app.storage.database import WriteSession
from app.wiring import Core
from tests.builders.flights import DEPARTING, flight
from tests.builders.holds import DEMO, RIVAL, key, no_offers, request
from tests.fixtures.core import StartCore, sell_from
from tests.fixtures.servers import StartValkey

SOUTH, NORTH = "flt_south", "flt_north"


@pytest.fixture
async def holds(core: Core) -> HoldService:
    """Two flights: ten seats in Y of which six may be M."""
    await sell_from(core, flight(flight_id=SOUTH), flight(flight_id=NORTH, flight_number="802"))
    return core.holds(no_offers)


async def open_seats(core: Core, flight_id: str = SOUTH) -> tuple[int, ...]:
    (counts,) = await core.availability.counts([(FlightId(flight_id), CabinName.ECONOMY)])
    assert counts is not None
    return counts.open


async def place(holds: HoldService, asked: HoldRequest) -> Hold:
    return (await holds.place(DEMO, asked, key())).value


async def test_a_hold_keeps_every_segment_until_a_ttl_from_its_grant(
    core: Core, holds: HoldService
) -> None:
    hold = await place(holds, request((SOUTH, "M"), (NORTH, "Y"), adults=2, children=1, infants=1))

    assert hold.status is HoldStatus.ACTIVE
    assert hold.expires_at - hold.created_at == timedelta(minutes=10)
    assert hold.expires_in_seconds == 600
    assert [segment.booking_class for segment in hold.segments] == ["M", "Y"]
    assert hold.price.total == Money(3 * (89_900 + 129_900), "CLP")
    assert (hold.extensions_remaining, hold.booking_id) == (1, None)
    assert await open_seats(core, SOUTH) == (7, 3)
    assert await open_seats(core, NORTH) == (7, 6)
    assert await holds.get(DEMO, hold.hold_id) == replace(
        hold, expires_in_seconds=(await holds.get(DEMO, hold.hold_id)).expires_in_seconds
    )


async def test_all_segments_or_none(core: Core, holds: HoldService) -> None:
    await place(holds, request((NORTH, "M"), adults=6))

    with pytest.raises(SoldOut) as refused:
        await place(holds, request((SOUTH, "Y"), (NORTH, "M"), adults=2))

    assert await open_seats(core, SOUTH) == (10, 6)
    (violation,) = refused.value.violations
    assert (violation.at, violation.facts["open"], violation.facts["requested"]) == (
        "/segments/1",
        0,
        2,
    )
    assert refused.value.facts["next_release_at"] is not None, "the seats are only held"


async def test_a_lower_class_takes_from_the_higher_ones(core: Core, holds: HoldService) -> None:
    await place(holds, request((SOUTH, "M"), adults=6))
    assert await open_seats(core) == (4, 0)
    await place(holds, request((SOUTH, "Y"), adults=4))
    assert await open_seats(core) == (0, 0)


async def test_the_same_key_gets_the_first_answer_whatever_became_of_it(
    core: Core, holds: HoldService
) -> None:
    asked, same = request((SOUTH, "Y")), key()
    first = await holds.place(DEMO, asked, same)
    again = await holds.place(DEMO, asked, same)
    await holds.release(DEMO, first.value.hold_id)
    after_release = await holds.place(DEMO, asked, same)

    assert not first.replayed
    assert again.replayed
    assert again.value == after_release.value == first.value
    assert await open_seats(core) == (10, 6)


async def test_the_first_answer_stands_though_the_seats_are_gone_and_redis_forgot(
    core: Core, holds: HoldService
) -> None:
    asked, same = request((SOUTH, "M"), adults=6), key()
    first = await holds.place(DEMO, asked, same)
    await holds.release(DEMO, first.value.hold_id)
    epoch = await core.epochs.number()
    await core.redis.delete(f"{{hf}}:{epoch}:h:{first.value.hold_id}")
    taken = await place(holds, request((SOUTH, "M"), adults=6))

    again = await holds.place(DEMO, asked, same)

    assert (again.value, again.replayed) == (first.value, True)
    assert taken.hold_id != first.value.hold_id
    assert await open_seats(core) == (4, 0)


async def test_a_late_duplicate_of_a_released_hold_takes_no_seat(
    core: Core, holds: HoldService
) -> None:
    asked, same = request((SOUTH, "Y")), key()
    first = await holds.place(DEMO, asked, same)
    await holds.release(DEMO, first.value.hold_id)
    epoch = await core.epochs.number()
    await core.redis.delete(f"{{hf}}:{epoch}:h:{first.value.hold_id}")  # the tombstone is gone

    again = await holds.place(DEMO, asked, same)

    assert (again.value, again.replayed) == (first.value, True)
    assert await open_seats(core) == (10, 6)


async def test_a_key_is_for_one_request_of_one_tenant(holds: HoldService) -> None:
    same = key("mine")
    await holds.place(DEMO, request((SOUTH, "Y")), same)
    with pytest.raises(IdempotencyKeyReused):
        await holds.place(DEMO, request((SOUTH, "M")), key("mine", body="b"))
    other = await holds.place(RIVAL, request((SOUTH, "M")), key("mine", body="b"))
    assert not other.replayed


async def test_a_refusal_is_not_remembered(core: Core, holds: HoldService) -> None:
    full, same = await place(holds, request((SOUTH, "M"), adults=6)), key()
    with pytest.raises(SoldOut):
        await holds.place(DEMO, request((SOUTH, "M")), same)
    await holds.release(DEMO, full.hold_id)
    assert not (await holds.place(DEMO, request((SOUTH, "M")), same)).replayed


async def test_release_is_repeatable_and_frees_the_seats_now(
    core: Core, holds: HoldService
) -> None:
    hold = await place(holds, request((SOUTH, "Y"), (NORTH, "Y"), adults=3))
    for _ in range(2):
        await holds.release(DEMO, hold.hold_id)
        assert await open_seats(core, SOUTH) == await open_seats(core, NORTH) == (10, 6)
    assert (await holds.get(DEMO, hold.hold_id)).status is HoldStatus.RELEASED


async def test_another_tenant_sees_nothing(holds: HoldService) -> None:
    hold = await place(holds, request((SOUTH, "Y")))
    for attempt in (
        holds.get(RIVAL, hold.hold_id),
        holds.release(RIVAL, hold.hold_id),
        holds.extend(RIVAL, hold.hold_id, None),
    ):
        with pytest.raises(NotFound):
            await attempt
    assert (await holds.get(DEMO, hold.hold_id)).status is HoldStatus.ACTIVE
    page, _ = await holds.list(RIVAL, status=None, client_reference=None, after=None, limit=50)
    assert page == []


async def test_a_seat_is_free_at_expires_at_and_not_before(start_core: StartCore) -> None:
    core = await start_core(ttl=timedelta(seconds=1))
    await sell_from(core, flight(flight_id=SOUTH, classes=(("Y", 1, Money(100, "CLP")),)))
    holds = core.holds(no_offers)
    hold = await place(holds, request((SOUTH, "Y")))
    refusals, next_hold = 0, None
    while next_hold is None:
        seconds, microseconds = await core.redis.time()
        try:
            next_hold = await place(holds, request((SOUTH, "Y")))
        except SoldOut:
            assert seconds + microseconds / 1e6 < hold.expires_at.timestamp(), "the seat is late"
            refusals += 1
    assert refusals > 10
    assert next_hold.created_at >= hold.expires_at
    assert next_hold.created_at - hold.expires_at < timedelta(milliseconds=100)
    assert (await holds.get(DEMO, hold.hold_id)).status is HoldStatus.EXPIRED
    with pytest.raises(HoldExpired):
        await holds.extend(DEMO, hold.hold_id, None)
    await holds.release(DEMO, hold.hold_id)
    assert (await holds.get(DEMO, next_hold.hold_id)).status is HoldStatus.ACTIVE


async def test_extend_gives_one_ttl_more_and_only_once(core: Core, holds: HoldService) -> None:
    hold, same = await place(holds, request((SOUTH, "Y"))), key()
    extended = await holds.extend(DEMO, hold.hold_id, same)
    again = await holds.extend(DEMO, hold.hold_id, same)

    assert extended.value.expires_at == hold.expires_at + timedelta(minutes=10)
    assert extended.value.extensions_remaining == 0
    assert (again.value, again.replayed) == (extended.value, True)
    with pytest.raises(ExtensionLimitReached):
        await holds.extend(DEMO, hold.hold_id, None)
    other = await place(holds, request((SOUTH, "Y")))
    with pytest.raises(IdempotencyKeyReused):
        await holds.extend(DEMO, other.hold_id, same)


async def test_an_extension_that_was_cut_off_is_completed_by_asking_again(
    core: Core, holds: HoldService
) -> None:
    hold = await place(holds, request((SOUTH, "Y")))
    await (await core.epochs.life()).holds.extend(hold.hold_id)  # and then the process ended
    extended = await holds.extend(DEMO, hold.hold_id, None)
    assert extended.value.expires_at == hold.expires_at + timedelta(minutes=10)


async def test_a_released_hold_is_not_extended(holds: HoldService) -> None:
    hold = await place(holds, request((SOUTH, "Y")))
    await holds.release(DEMO, hold.hold_id)
    with pytest.raises(HoldNotActive):
        await holds.extend(DEMO, hold.hold_id, None)


async def test_a_crash_between_grant_and_journal_is_settled_by_the_same_key(
    core: Core, holds: HoldService
) -> None:
    asked, same = request((SOUTH, "Y"), adults=4), key()
    whole = await holds.place(DEMO, asked, same)
    await forget_in_journal(core)  # as if the process had ended after the script

    again = await holds.place(DEMO, asked, same)

    assert (again.value, again.replayed) == (whole.value, False)
    assert await open_seats(core) == (6, 6)
    await forget_in_journal(core)
    with pytest.raises(IdempotencyKeyReused):
        await holds.place(DEMO, asked, key(same.key, body="b"))


async def test_a_grant_that_ran_out_before_its_journal_row_is_made_anew(
    start_core: StartCore,
) -> None:
    core = await start_core(ttl=timedelta(milliseconds=200))
    await sell_from(core, flight(flight_id=SOUTH))
    holds = core.holds(no_offers)
    asked, same = request((SOUTH, "Y")), key()
    first = await holds.place(DEMO, asked, same)
    await forget_in_journal(core)
    while (await core.availability.counts([(FlightId(SOUTH), CabinName.ECONOMY)]))[0].open[0] < 10:  # type: ignore[union-attr] # it is known
        await core.repairs[Expirer].run_once()

    second = await holds.place(DEMO, asked, same)
    third = await holds.place(DEMO, asked, same)

    assert second.value.hold_id != first.value.hold_id, "the aborted id is never promised again"
    assert (third.value, third.replayed) == (second.value, True)


async def test_a_promise_that_comes_after_its_seats_were_given_up_is_not_made(
    start_core: StartCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal was so slow that the grant ran out first, and the expirer has been there."""
    core = await start_core(ttl=timedelta(milliseconds=100))
    await sell_from(core, flight(flight_id=SOUTH))
    holds = core.holds(no_offers)
    append = journal.append
    appended: list[HoldId] = []

    async def slow(session: WriteSession, entries: Sequence[JournalEntry]) -> set[HoldId]:
        if not appended:
            while await core.redis.scard(f"{{hf}}:{entries[0].epoch}:ended") or not appended:
                await core.repairs[Expirer].run_once()
                (seen,) = (
                    await core.epochs_in_redis.life(entries[0].epoch).holds.read_memos(
                        [entries[0].hold_id]
                    )
                ).values()
                if seen.state is MemoState.EXPIRED:
                    appended.append(entries[0].hold_id)
            await core.repairs[Expirer].run_once()
        return await append(session, entries)

    monkeypatch.setattr(journal, "append", slow)
    hold = await place(holds, request((SOUTH, "Y")))

    assert hold.hold_id != appended[0], "a new grant, and the first one's id is burnt"
    page, _ = await holds.list(DEMO, status=None, client_reference=None, after=None, limit=9)
    assert [listed.hold_id for listed in page] == [hold.hold_id]


async def test_a_release_stands_though_redis_is_away(
    start_core: StartCore, start_valkey: StartValkey
) -> None:
    server = await start_valkey()
    core = await start_core(redis_url=server.url)
    await sell_from(core, flight(flight_id=SOUTH))
    holds = core.holds(no_offers)
    hold = await place(holds, request((SOUTH, "Y"), adults=4))
    await server.stop()

    await holds.release(DEMO, hold.hold_id)
    assert (await holds.get(DEMO, hold.hold_id)).status is HoldStatus.RELEASED
    assert await open_seats(core) == (10, 6), "Postgres answers what it knows"

    await server.start()
    await core.guardian.ensure_open()
    assert await open_seats(core) == (10, 6)


@pytest.mark.parametrize(
    ("choices", "codes"),
    [
        ([("flt_nowhere", "Y")], {"unknown_flight"}),
        ([(SOUTH, "Q")], {"unknown_class"}),
        ([(SOUTH, "Y"), ("flt_dollars", "Y")], {"mixed_currency"}),
    ],
)
async def test_what_cannot_be_held_is_named(
    core: Core, holds: HoldService, choices: list[tuple[str, str]], codes: set[str]
) -> None:
    dollars = flight(flight_id="flt_dollars", classes=(("Y", 9, Money(100, "USD")),))
    await sell_from(core, dollars)
    with pytest.raises(ValidationFailed) as refused:
        await place(holds, request(*choices))
    assert {violation.code for violation in refused.value.violations} == codes


async def test_a_departed_flight_is_not_for_sale(core: Core, holds: HoldService) -> None:
    departed = DEPARTING - timedelta(days=3650)
    await sell_from(core, flight(flight_id="flt_gone", departing=departed))
    with pytest.raises(NotForSale):
        await place(holds, request(("flt_gone", "Y")))


async def test_holds_are_listed_newest_first_by_status_and_reference(holds: HoldService) -> None:
    made = [
        (await holds.place(DEMO, request((SOUTH, "Y"), client_reference=f"r{n % 2}"), key())).value
        for n in range(6)
    ]
    await holds.release(DEMO, made[0].hold_id)
    seen: list[str] = []
    after = None
    while True:
        page, after = await holds.list(
            DEMO, status=None, client_reference=None, after=after, limit=4
        )
        seen += [hold.hold_id for hold in page]
        if after is None:
            break
    assert seen == [hold.hold_id for hold in reversed(made)]
    active, _ = await holds.list(
        DEMO, status=HoldStatus.ACTIVE, client_reference="r0", after=None, limit=50
    )
    assert [hold.hold_id for hold in active] == [made[4].hold_id, made[2].hold_id]


async def test_two_hundred_at_once_for_ten_seats(core: Core, holds: HoldService) -> None:
    turns = asyncio.Semaphore(32)  # as many as the rim would let in at once

    async def one() -> Hold | SoldOut:
        async with turns:
            try:
                return await place(holds, request((SOUTH, "Y")))
            except SoldOut as refused:
                return refused

    outcomes = await asyncio.gather(*(one() for _ in range(200)))
    assert sum(isinstance(outcome, Hold) for outcome in outcomes) == 10
    assert await open_seats(core) == (0, 0)


async def forget_in_journal(core: Core) -> None:
    async def forget(session: WriteSession) -> None:
        await session.execute(text("DELETE FROM hold_journal"))

    await core.database.run_in_transaction(forget)
