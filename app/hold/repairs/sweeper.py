"""The sweeper: frees seats in Redis that the journal does not have as HELD.

A process may fail between a grant and its journal entry, or between a release in the journal and its
script. Each grant is looked up in the journal once, 5 seconds after it was made. A grant without an entry
is first written there as ABORTED, so that a slow writer cannot insert it any more, and then ended in
Redis. Entries that ended in the last 30 seconds are compared with Redis too. So are grants whose entries
ended earlier: a late duplicate of a request may be granted again after Redis has forgotten the first.
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

GRANTED_FOR: Final = timedelta(seconds=5)  # longer than any request
ENDED_WITHIN_SECONDS: Final = 30.0
ENDED_MAX: Final = 1000
ROUNDS_MAX: Final = 100
_ALIVE: Final = (MemoState.HELD, MemoState.PINNED)


class Sweeper:
    def __init__(self, database: Database, epochs: CurrentEpoch) -> None:
        self._database = database
        self._epochs = epochs

    async def run_once(self, granted_for: timedelta = GRANTED_FOR) -> int:
        """Make one pass; return the number of holds ended in Redis."""
        ended = 0
        for _ in range(ROUNDS_MAX):
            verified, swept = await self._epochs.run(
                lambda life: self._sweep_grants(life, granted_for)
            )
            ended += swept
            if verified < EXPIRE_MAX:
                break
        return ended + await self._epochs.run(self._sweep_ended)

    async def _sweep_grants(self, life: Life, granted_for: timedelta) -> tuple[int, int]:
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
        swept = await self._end(life, await self._still_counted(life, found))
        seen = [hold_id for hold_id in hold_ids if hold_id in found]
        if seen:  # the others are verified by a later pass
            await life.holds.forget_verified(seen)
        return len(seen), swept

    async def _sweep_ended(self, life: Life) -> int:
        async with self._database.reading() as session:
            ended = await scans.just_ended(session, ENDED_WITHIN_SECONDS, ENDED_MAX)
        return await self._end(life, await self._still_counted(life, ended))

    async def _still_counted(
        self, life: Life, states: Mapping[HoldId, JournalState]
    ) -> dict[HoldId, JournalState]:
        """The holds that have ended in the journal, and whose seats Redis still counts."""
        ended = {i: state for i, state in states.items() if state is not JournalState.HELD}
        if not ended:
            return {}
        seen = await life.holds.read_memos(list(ended))
        return {i: state for i, state in ended.items() if seen[i].state in _ALIVE}

    async def _end(self, life: Life, states: Mapping[HoldId, JournalState]) -> int:
        for hold_id, state in states.items():
            if state is JournalState.CONFIRMED:
                await life.holds.finish(hold_id, await self._rows_after_sale(hold_id))
            else:
                await life.holds.end(hold_id, state)
        return len(states)

    async def _rows_after_sale(self, hold_id: HoldId) -> list[InventoryRow]:
        """The rows of the hold's flights, read after its sale has committed, so that they count it."""
        async with self._database.reading() as session:
            entry = await journal.read(session, hold_id)
            assert entry is not None, "an entry that became a booking is not deleted"
            return await read_rows(session, {line.flight_id for line in entry.lines})


async def _abort(
    session: WriteSession, epoch: int, missing: list[HoldId]
) -> dict[HoldId, JournalState]:
    """Insert ABORTED for the missing holds unless a writer was first; return their states.

    Returns nothing if the epoch is over.
    """
    if not await journal.prove_epoch(session, epoch):
        return {}
    await journal.abort_missing(session, epoch, missing)
    return await scans.states(session, missing)
