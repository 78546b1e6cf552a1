"""Frees in Redis what the journal does not promise: seats that nobody was told of, or that were let go.

A process may end between a grant and its row, or between a release and its script. Each grant is
looked for in the journal once, some seconds after it was made; one that has no row is aborted there
first, so that a slow writer finds the place taken. Rows that ended a moment ago are compared with
Redis, which may not have heard; and so are grants whose rows ended whenever it was, since a late
duplicate of a request may be granted afresh where Redis has forgotten the first.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from app.hold.epochs.current import CurrentEpoch
from app.hold.journal import scans
from app.hold.journal import store as journal
from app.hold.model import JournalState, MemoState
from app.hold.redis.holds import EXPIRE_MAX
from app.hold.redis.life import Life
from app.ids import HoldId
from app.inventory.model import InventoryRow
from app.inventory.store import read_rows
from app.storage.database import Database, WriteSession

GRANTED_FOR: Final = timedelta(seconds=5)  # longer than any request lasts
ENDED_WITHIN_SECONDS: Final = 30.0
ENDED_MAX: Final = 1000
ROUNDS_MAX: Final = 100
_ALIVE: Final = (MemoState.HELD, MemoState.PINNED)


class Sweeper:
    def __init__(self, database: Database, epochs: CurrentEpoch) -> None:
        self._database = database
        self._epochs = epochs

    async def run_once(self, granted_for: timedelta = GRANTED_FOR) -> int:
        """How many holds were ended in Redis."""
        ended = 0
        for _ in range(ROUNDS_MAX):
            looked_at, swept = await self._epochs.run(
                lambda life: self._sweep_fresh(life, granted_for)
            )
            ended += swept
            if looked_at < EXPIRE_MAX:
                break
        return ended + await self._epochs.run(self._sweep_ended)

    async def _sweep_fresh(self, life: Life, granted_for: timedelta) -> tuple[int, int]:
        hold_ids = await life.holds.unverified_grants(granted_for)
        if not hold_ids:
            return 0, 0
        async with self._database.reading() as session:
            found = await scans.states(session, hold_ids)
        missing = [hold_id for hold_id in hold_ids if hold_id not in found]
        if missing:
            aborted = await self._database.run_in_transaction(
                lambda session: _abort(session, life.number, missing)
            )
            found = {**found, **aborted}
        swept = await self._end(life, await self._alive(life, found))
        seen = [hold_id for hold_id in hold_ids if hold_id in found]
        if seen:  # what could not be judged now is looked for again
            await life.holds.forget_verified(seen)
        return len(seen), swept

    async def _sweep_ended(self, life: Life) -> int:
        async with self._database.reading() as session:
            ended = await scans.just_ended(session, ENDED_WITHIN_SECONDS, ENDED_MAX)
        return await self._end(life, await self._alive(life, ended))

    async def _alive(
        self, life: Life, states: Mapping[HoldId, JournalState]
    ) -> dict[HoldId, JournalState]:
        """Those that the journal says have ended, and that Redis still counts."""
        ended = {i: state for i, state in states.items() if state is not JournalState.HELD}
        if not ended:
            return {}
        seen = await life.holds.read_memos(list(ended))
        return {i: state for i, state in ended.items() if seen[i].state in _ALIVE}

    async def _end(self, life: Life, states: Mapping[HoldId, JournalState]) -> int:
        for hold_id, state in states.items():
            if state is JournalState.CONFIRMED:
                await life.holds.finish(hold_id, await self._rows_of(hold_id))
            else:
                await life.holds.end(hold_id, state)
        return len(states)

    async def _rows_of(self, hold_id: HoldId) -> list[InventoryRow]:
        """Read after the sale was seen: they count it."""
        async with self._database.reading() as session:
            promise = await journal.read(session, hold_id)
            assert promise is not None, "a row that became a booking stays"
            return await read_rows(session, {line.flight_id for line in promise.lines})


async def _abort(
    session: WriteSession, epoch: int, missing: list[HoldId]
) -> dict[HoldId, JournalState]:
    """Where they stand afterwards: aborted, unless a slow writer was first. Nothing in an epoch that is over."""
    if not await journal.prove_epoch(session, epoch):
        return {}
    await journal.abort_missing(session, epoch, missing)
    return await scans.states(session, missing)
