"""The protocol's steps one at a time, so that another process may come between any two of them.

Two Cores are two processes. Every step is the shipped code's own; only the order is the story's.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from app.hold.journal import store as journal
from app.hold.model import Granted, Hold, JournalEntry
from app.hold.pinning import PinProof
from app.hold.redis.loading import RedisLoading
from app.hold.service import HoldService
from app.idempotency.model import IdempotencyKey
from app.ids import HoldId
from app.inventory import store as inventory_store
from app.storage.database import WriteSession
from app.wiring import Core
from tests.booking.staging import execute
from tests.builders.flights import ECONOMY, flight
from tests.builders.holds import DEMO, key, no_offers, request
from tests.fixtures.core import sell_from

SEATS = "flt_last"


async def on_sale(core: Core, seats: int) -> HoldService:
    """A flight of one class with so many seats."""
    await sell_from(core, flight(flight_id=SEATS, classes=[("Y", seats, ECONOMY[0][2])]))
    return core.holds(no_offers)


async def hold_one(holds: HoldService, same: IdempotencyKey | None = None) -> Hold:
    return (await holds.place(DEMO, request((SEATS, "Y")), same or key())).value


async def promise_of(core: Core, hold_id: HoldId) -> JournalEntry:
    async with core.database.reading() as session:
        entry = await journal.read(session, hold_id)
    assert entry is not None
    return entry


async def transaction_of_booking(core: Core, proof: PinProof) -> bool:
    """The judge and the guard, on the strength of a pin made before; False: nothing was done."""
    entry = await promise_of(core, proof.hold_id)

    async def sell(session: WriteSession) -> bool:
        if not await core.pins.prove(session, proof):
            return False
        if not await journal.confirm(session, {proof.hold_id: proof.fencing_token}):
            return False
        return isinstance(await inventory_store.add_sold(session, entry.lines), list)

    return await core.database.run_in_transaction(sell)


async def append(core: Core, entries: Sequence[JournalEntry]) -> set[HoldId]:
    return await core.database.run_statement(lambda session: journal.append(session, entries))


async def regrant(core: Core, entry: JournalEntry) -> Granted:
    """A late duplicate's script call, by a process that never gets any further."""
    life = await core.epochs.life()
    versions = {line.flight_id: 1 for line in entry.lines}
    its_id = entry.hold_id
    granted = await life.holds.place(its_id, its_id, "r", entry.lines, versions)
    assert isinstance(granted, Granted)
    return granted


async def lose_redis(core: Core) -> None:
    await core.redis.flushdb()


async def lose_and_rebuild(core: Core) -> None:
    await lose_redis(core)
    await core.guardian.ensure_open()


async def let_lease_run_out(core: Core) -> None:
    """The rebuilder slept for longer than its lease."""
    await execute(core, "UPDATE epoch_gate SET rebuilder = NULL")


def after_loading(monkeypatch: pytest.MonkeyPatch, then: Callable[[], Awaitable[None]]) -> None:
    """Once, when a rebuild has written holds that it read in its snapshot, `then` happens."""
    load_part, waiting = RedisLoading.load_part, [then]

    async def load(self: RedisLoading, number: int, **what: Any) -> None:
        await load_part(self, number, **what)
        if waiting:
            await waiting.pop()()

    monkeypatch.setattr(RedisLoading, "load_part", load)
