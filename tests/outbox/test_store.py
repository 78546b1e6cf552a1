"""Facts in PostgreSQL: their positions, who may mark them, who may read them."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from app.ids import TenantId
from app.outbox import delivery, lease_store, store
from app.outbox.lease_store import Lease
from app.outbox.model import Due, Entry, EventType, Fact
from app.storage.database import Database, WriteSession
from tests.builders.facts import (
    NOON,
    TENANT,
    a_fact,
    a_shared_fact,
    append,
    execute,
    forget_everything,
    number,
    rows,
)

RIVAL = TenantId("tenant-2")
LIMITS = [1, 2, 3, 4, 5]


class TestAppending:
    async def test_a_fact_is_kept_as_it_was_written(self, database: Database) -> None:
        fact = a_fact(data={"segments": [{"flight_id": "flt_a", "seats": 2}], "note": "é\u2028"})
        await database.run_in_transaction(lambda session: store.append(session, fact))
        await number(database)
        [entry] = await page(database)
        assert entry.event.id == fact.event_id
        assert entry.event.data == fact.data
        assert entry.event.occurred_at == NOON
        assert (entry.position, entry.attempts) == (1, 0)

    async def test_an_aborted_transaction_leaves_no_event(self, database: Database) -> None:
        class Abort(Exception):
            pass

        async def work(session: WriteSession) -> None:
            await store.append(session, a_fact())
            raise Abort

        with pytest.raises(Abort):
            await database.run_in_transaction(work)
        assert await number(database) == []
        assert await rows(database) == []


class TestNumbering:
    async def test_nothing_appears_before_a_cursor_already_handed_out(
        self, database: Database
    ) -> None:
        """A writes first and commits last: whoever read B in between still gets A."""
        written, commit = asyncio.Event(), asyncio.Event()

        async def slow(session: WriteSession) -> None:
            await store.append(session, a_fact("bkg_a", seconds=1))
            written.set()
            await commit.wait()

        first = asyncio.create_task(database.run_in_transaction(slow))
        await written.wait()
        await append(database, a_fact("bkg_b", seconds=2))
        await number(database)
        [seen] = await page(database)
        commit.set()
        await first
        await number(database)

        assert seen.event.aggregate.id == "bkg_b"
        assert [late.event.aggregate.id for late in await page(database, after=seen.position)] == [
            "bkg_a"
        ]

    async def test_an_unnumbered_fact_is_not_listed(self, database: Database) -> None:
        await append(database, a_fact())
        assert await page(database) == []

    @pytest.mark.parametrize("limit", LIMITS)
    async def test_writers_of_one_aggregate_are_numbered_in_sequence_while_they_write(
        self, database: Database, limit: int
    ) -> None:
        """Three writers on each of two aggregates; a numberer and a reader run beside them."""
        await make_aggregates(database, ["bkg_a", "bkg_b"])
        writers = [
            asyncio.create_task(write_many(database, name, count=8))
            for name in ("bkg_a", "bkg_b")
            for _ in range(3)
        ]
        seen: list[Entry] = []
        async with asyncio.timeout(20):
            while len(seen) < 48:
                await number(database, limit)
                seen += await page(database, after=seen[-1].position if seen else 0, limit=limit)
        await asyncio.gather(*writers)
        await execute(database, "DROP TABLE aggregates")

        for name in ("bkg_a", "bkg_b"):
            mine = [entry.event.sequence for entry in seen if entry.event.aggregate.id == name]
            assert mine == list(range(1, 25))
        assert [entry.position for entry in seen] == list(range(1, 49))

    async def test_two_that_number_at_once_never_give_one_position_twice(
        self, database: Database
    ) -> None:
        await append(database, *(a_fact(f"bkg_{place}") for place in range(40)))
        given_out = await asyncio.gather(*(number(database, 7) for _ in range(6)))
        assert len({event for batch in given_out for event in batch}) == 40
        assert [row["position"] for row in await rows(database)] == list(range(1, 41))

    async def test_a_skewed_clock_does_not_turn_a_sequence_around(self, database: Database) -> None:
        await append(database, a_fact("bkg_a", 1, seconds=9), a_fact("bkg_a", 2, seconds=1))
        await number(database, 10)
        assert [entry.event.sequence for entry in await page(database)] == [1, 2]

    async def test_a_fact_cut_off_from_its_predecessor_waits_without_starving_others(
        self, database: Database
    ) -> None:
        """The window of two holds nothing but facts that have to wait."""
        await append(
            database,
            *(a_fact("bkg_a", sequence, seconds=-sequence) for sequence in range(1, 5)),
            a_fact("bkg_b", 1, seconds=5),
            a_fact("bkg_c", 1, seconds=6),
        )
        taken = []
        while batch := await number(database, 2):
            assert len(batch) <= 2
            taken += batch
        assert len(taken) == 6
        listed = [(one.event.aggregate.id, one.event.sequence) for one in await page(database)]
        assert [place for place in listed if place[0] == "bkg_a"] == [
            ("bkg_a", sequence) for sequence in range(1, 5)
        ]

    async def test_a_hole_in_a_sequence_holds_back_that_aggregate_alone(
        self, database: Database
    ) -> None:
        holed = [a_fact("bkg_a", sequence, seconds=-sequence) for sequence in range(2, 7)]
        await append(database, *holed, a_fact("bkg_b", 1), a_fact("bkg_c", 1, seconds=1))
        assert await number(database, 1) == [a_fact("bkg_b", 1).event_id]
        assert await number(database, 1) == [a_fact("bkg_c", 1).event_id]
        assert await number(database, 1) == []
        await append(database, a_fact("bkg_a", 1, seconds=50))
        assert await number(database, 10) == [
            a_fact("bkg_a", sequence).event_id for sequence in range(1, 7)
        ]

    @settings(
        max_examples=25,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(
        st.lists(
            st.tuples(st.sampled_from(["bkg_a", "bkg_b", "bkg_c"]), st.integers(-5, 5)),
            min_size=1,
            max_size=20,
        ),
        st.integers(1, 5),
        st.integers(1, 6),
    )
    async def test_any_history_is_numbered_whole_and_in_sequence(
        self, database: Database, history: list[tuple[str, int]], limit: int, burst: int
    ) -> None:
        """Facts come in bursts, with clocks that jump; numbering runs now and then."""
        await forget_everything(database)
        facts = in_order_of_commit(history)
        for start in range(0, len(facts), burst):
            await append(database, *facts[start : start + burst])
            await number(database, limit)
        while await number(database, limit):
            pass
        listed = await page(database, limit=100)
        assert len(listed) == len(facts)
        for name in {fact.aggregate_id for fact in facts}:
            mine = [entry.event.sequence for entry in listed if entry.event.aggregate.id == name]
            assert mine == list(range(1, len(mine) + 1))


class TestLease:
    async def test_one_at_a_time_has_it(self, database: Database) -> None:
        assert await take(database, "a") == Lease("a", 1)
        assert await take(database, "b") is None
        assert await take(database, "a") is None

    async def test_many_that_want_it_at_once_get_it_once(self, database: Database) -> None:
        taken = await asyncio.gather(*(take(database, f"relay-{place}") for place in range(8)))
        assert len([one for one in taken if one is not None]) == 1

    async def test_each_taking_raises_the_fence(self, database: Database) -> None:
        first = await take(database, "a")
        await run_out(database)
        assert (first, await take(database, "b")) == (Lease("a", 1), Lease("b", 2))
        await run_out(database)
        assert await take(database, "a") == Lease("a", 3)

    async def test_its_holder_renews_it_until_it_runs_out(self, database: Database) -> None:
        held = await taken(database)
        assert await renew(database, held)
        await run_out(database)
        assert not await renew(database, held)

    async def test_an_older_one_of_the_same_holder_is_not_renewed(self, database: Database) -> None:
        old = await taken(database)
        await run_out(database)
        new = await taken(database)
        assert not await renew(database, old)
        assert await renew(database, new)

    async def test_given_back_it_is_free_at_once(self, database: Database) -> None:
        held = await taken(database)
        await database.run_in_transaction(lambda session: lease_store.release(session, held))
        assert await take(database, "b") == Lease("b", 2)

    async def test_giving_back_an_old_one_leaves_the_new_one_alone(
        self, database: Database
    ) -> None:
        old = await taken(database)
        await run_out(database)
        new = await taken(database, "b")
        await database.run_in_transaction(lambda session: lease_store.release(session, old))
        assert await renew(database, new)


class TestMarking:
    @pytest.fixture
    async def held(self, database: Database) -> Lease:
        await append(
            database,
            a_fact("bkg_a", 1),
            a_fact("bkg_a", 2, seconds=1),
            a_fact("bkg_b", 1, seconds=2),
        )
        return await taken(database)

    @pytest.mark.parametrize("numbered", [0, 1, 2, 3])
    async def test_one_event_of_an_aggregate_is_offered_at_a_time(
        self, database: Database, held: Lease, numbered: int
    ) -> None:
        """Whether or not they have their positions already."""
        await number(database, numbered)
        assert await offered(database, held) == ["bkg_a 1", "bkg_b 1"]
        assert await mark(database, held, "bkg_a 1") == 1
        assert sorted(await offered(database, held)) == ["bkg_a 2", "bkg_b 1"]
        assert await mark(database, held, "bkg_a 2", "bkg_b 1") == 2
        assert await offered(database, held) == []
        assert [row["position"] for row in await rows(database)] == [1, 2, 3]
        listed = [(one.event.aggregate.id, one.event.sequence) for one in await page(database)]
        assert listed.index(("bkg_a", 1)) < listed.index(("bkg_a", 2))

    @pytest.mark.parametrize("numbered", [0, 3])
    async def test_a_mark_is_made_once(
        self, database: Database, held: Lease, numbered: int
    ) -> None:
        await number(database, numbered)
        twice = await due(database, held)
        accepted = [(one, None) for one in twice]
        assert await settle(database, held, accepted[:1]) == 1
        before = await rows(database)
        assert await settle(database, held, accepted) == 1
        [row, *_] = await rows(database)
        assert row == before[0]

    async def test_a_position_that_was_given_meanwhile_stays(
        self, database: Database, held: Lease
    ) -> None:
        """As by a relay that lost its lease: it may still number, and nobody's page may change."""
        accepted = [(one, None) for one in await due(database, held)]
        await number(database)
        seen = await page(database)
        assert await settle(database, held, accepted) == 2
        await append(database, a_fact("bkg_c", seconds=3))
        await mark(database, held, "bkg_c 1")
        listed = await page(database)
        assert [one.event.id for one in listed[:3]] == [one.event.id for one in seen]
        assert places(listed[:3]) == [1, 2, 3]
        assert listed[3].event.aggregate.id == "bkg_c"

    @pytest.mark.parametrize("numbered", [0, 3])
    @pytest.mark.parametrize("case", ["ran out", "taken over", "forged fence", "forged holder"])
    async def test_without_the_lease_nothing_is_offered_or_written(
        self, database: Database, held: Lease, case: str, numbered: int
    ) -> None:
        await number(database, numbered)
        first, second = await due(database, held)
        if case in ("ran out", "taken over"):
            await run_out(database)
        if case == "taken over":
            await taken(database, "b")
        if case == "forged fence":
            held = Lease(held.holder, held.fencing_token + 1)
        if case == "forged holder":
            held = Lease("b", held.fencing_token)
        before = await rows(database)
        assert await offered(database, held) == []
        assert await settle(database, held, [(first, None), (second, 60)]) == 0
        assert await rows(database) == before
        async with database.reading() as session:
            assert await store.last_position(session) == numbered

    @pytest.mark.parametrize("numbered", [0, 1, 3])
    async def test_a_postponed_event_holds_back_its_aggregate_and_no_other(
        self, database: Database, held: Lease, numbered: int
    ) -> None:
        await number(database, numbered)
        [refused, _] = await due(database, held)
        assert await settle(database, held, [(refused, 60)]) == 1
        assert await offered(database, held) == ["bkg_b 1"]
        assert await settle(database, held, [(refused, 0)]) == 1
        assert await offered(database, held) == ["bkg_a 1", "bkg_b 1"]
        [first, *_] = await rows(database)
        assert (first["position"], first["attempts"], first["published_at"]) == (1, 2, None)

    async def test_a_refused_event_is_listed_and_so_is_what_waits_behind_it(
        self, database: Database, held: Lease
    ) -> None:
        [refused, _] = await due(database, held)
        await settle(database, held, [(refused, 60)])
        await number(database)
        assert places(await page(database)) == [1, 2, 3]

    async def test_what_has_positions_is_offered_before_what_has_none(
        self, database: Database, held: Lease
    ) -> None:
        await number(database, 1)
        await append(database, a_fact("bkg_c", seconds=-9))
        assert await offered(database, held) == ["bkg_a 1", "bkg_c 1", "bkg_b 1"]
        assert await offered(database, held, count=1) == ["bkg_a 1", "bkg_c 1"]

    async def test_the_backlog_counts_what_waits_and_what_was_refused(
        self, database: Database, held: Lease
    ) -> None:
        await append(database, a_fact("bkg_c", 1, seconds=-30))
        refused = next(one for one in await due(database, held) if named(one) == "bkg_a 1")
        await settle(database, held, [(refused, 0)])
        await mark(database, held, "bkg_b 1")
        async with database.reading() as session:
            found = await store.backlog(session)
        assert (found.waiting, found.refused) == (3, 1)
        assert found.oldest_at == a_fact(seconds=-30).occurred_at


class TestPages:
    @pytest.fixture
    async def filled(self, database: Database) -> None:
        cancelled = EventType.BOOKING_CANCELLED
        await append(
            database,
            a_fact("bkg_a", 1, seconds=1),
            a_fact("bkg_r", 1, seconds=2, tenant_id=RIVAL),
            a_shared_fact("flt_a", 1, seconds=3),
            a_fact("bkg_a", 2, seconds=4, type=cancelled),
            a_fact("bkg_r", 2, seconds=5, type=cancelled, tenant_id=RIVAL),
            a_shared_fact("flt_a", 2, seconds=6),
        )
        await number(database)

    @pytest.mark.usefixtures("filled")
    async def test_a_tenant_sees_its_own_and_the_shared_where_allowed(
        self, database: Database
    ) -> None:
        assert places(await page(database)) == [1, 4]
        assert places(await page(database, tenant_id=RIVAL)) == [2, 5]
        assert places(await page(database, include_shared=True)) == [1, 3, 4, 6]
        assert places(await page(database, tenant_id=TenantId("nobody"))) == []
        assert places(await page(database, tenant_id=TenantId("nobody"), include_shared=True)) == [
            3,
            6,
        ]

    @pytest.mark.usefixtures("filled")
    async def test_pages_follow_one_another(self, database: Database) -> None:
        assert places(await page(database, include_shared=True, limit=3)) == [1, 3, 4]
        assert places(await page(database, include_shared=True, after=4, limit=3)) == [6]
        assert places(await page(database, after=6)) == []

    @pytest.mark.usefixtures("filled")
    async def test_types_narrow_a_page(self, database: Database) -> None:
        cancelled, changed = EventType.BOOKING_CANCELLED, EventType.FLIGHT_INVENTORY_CHANGED
        assert places(await page(database, types=[cancelled])) == [4]
        assert places(await page(database, types=[changed])) == []
        both = await page(database, types=[cancelled, changed], include_shared=True)
        assert places(both) == [3, 4, 6]


async def page(
    database: Database,
    *,
    tenant_id: TenantId = TENANT,
    include_shared: bool = False,
    after: int = 0,
    limit: int = 50,
    types: list[EventType] | None = None,
) -> list[Entry]:
    async with database.reading() as session:
        return await store.page(
            session,
            tenant_id,
            include_shared=include_shared,
            after_position=after,
            limit=limit,
            types=types or [],
        )


def places(entries: list[Entry]) -> list[int]:
    return [entry.position for entry in entries]


async def take(database: Database, holder: str, seconds: float = 60) -> Lease | None:
    return await database.run_in_transaction(
        lambda session: lease_store.acquire(session, holder, seconds)
    )


async def taken(database: Database, holder: str = "a") -> Lease:
    held = await take(database, holder)
    assert held is not None
    return held


async def renew(database: Database, held: Lease) -> bool:
    return await database.run_in_transaction(lambda session: lease_store.renew(session, held, 60))


async def run_out(database: Database) -> None:
    """As if the lease's time had gone by."""
    await execute(database, "UPDATE relay_leases SET expires_at = clock_timestamp()")


async def due(database: Database, held: Lease, count: int = 100) -> list[Due]:
    async with database.reading() as session:
        return await delivery.due(session, held, count)


async def offered(database: Database, held: Lease, count: int = 100) -> list[str]:
    return [named(one) for one in await due(database, held, count)]


def named(one: Due) -> str:
    return f"{one.event.aggregate.id} {one.event.sequence}"


async def settle(
    database: Database, held: Lease, outcomes: Sequence[tuple[Due, float | None]]
) -> int:
    return await database.run_statement(lambda session: delivery.settle(session, held, outcomes))


async def mark(database: Database, held: Lease, *names: str) -> int:
    offers = await due(database, held)
    return await settle(database, held, [(one, None) for one in offers if named(one) in names])


def in_order_of_commit(history: list[tuple[str, int]]) -> list[Fact]:
    """Each aggregate's facts in sequence, at the moments its writers' clocks showed."""
    written: dict[str, int] = {}
    facts = []
    for name, seconds in history:
        written[name] = written.get(name, 0) + 1
        facts.append(a_fact(name, written[name], seconds=seconds))
    return facts


async def make_aggregates(database: Database, names: list[str]) -> None:
    await execute(database, "DROP TABLE IF EXISTS aggregates")
    await execute(database, "CREATE TABLE aggregates (name text PRIMARY KEY, sequence int)")
    for name in names:
        await execute(database, f"INSERT INTO aggregates VALUES ('{name}', 0)")


async def write_many(database: Database, name: str, count: int) -> None:
    """As a feature does: the next sequence under the lock of the aggregate's row, then the fact."""
    following = text(
        "UPDATE aggregates SET sequence = sequence + 1 WHERE name = :name RETURNING sequence"
    )

    async def work(session: WriteSession) -> None:
        sequence = (await session.execute(following, {"name": name})).scalar_one()
        await store.append(session, a_fact(name, sequence, seconds=sequence))

    for _ in range(count):
        await database.run_in_transaction(work)
