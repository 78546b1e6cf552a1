"""Repair: corrects in Redis the drift that the reconciler found, without taking a held seat.

It works on single holds and flights while requests go on. A hold that has ended in the journal is ended
in Redis, and one that is HELD there is loaded. A hold without an entry is written as ABORTED first and
then ended. Inventory rows are sent again, and the seats of live holds are counted again. If drift remains
after that, a new epoch rebuilds all of Redis.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from app.errors import HoldStoreUnavailable
from app.hold.epochs.current import CurrentEpoch
from app.hold.epochs.guardian import RecoveryGuardian
from app.hold.expiry import mark_expired
from app.hold.journal import scans
from app.hold.journal import store as journal
from app.hold.model import JournalState, MemoState
from app.hold.pinning import Pins
from app.hold.redis.life import Life
from app.hold.redis.loading import HOLDS_MAX
from app.hold.repairs.reconciler import GRACE, Drift, Reconciler
from app.ids import FlightId, HoldId
from app.inventory import store as inventory_store
from app.storage.database import Database, WriteSession


@dataclass(frozen=True, slots=True)
class Repaired:
    found: int
    remaining: int
    with_new_epoch: bool


class Repair:
    def __init__(
        self,
        database: Database,
        epochs: CurrentEpoch,
        pins: Pins,
        reconciler: Reconciler,
        guardian: RecoveryGuardian,
    ) -> None:
        self._database = database
        self._epochs = epochs
        self._pins = pins
        self._reconciler = reconciler
        self._guardian = guardian

    async def correct(self, drifts: Sequence[Drift], grace: timedelta = GRACE) -> Repaired:
        """Correct the drifts, then compare again with the reconciler's `grace`."""
        try:
            await self._epochs.run(lambda life: self._correct(life, drifts))
            remaining = await self._reconciler.compare(grace)
        except HoldStoreUnavailable:
            remaining = list(drifts)
        if not remaining:
            return Repaired(len(drifts), 0, with_new_epoch=False)
        await self._guardian.start_over()
        remaining = await self._reconciler.compare(grace)
        return Repaired(len(drifts), len(remaining), with_new_epoch=True)

    async def _correct(self, life: Life, drifts: Sequence[Drift]) -> None:
        hold_ids = sorted({drift.hold_id for drift in drifts if drift.hold_id is not None})
        flight_ids = {drift.flight_id for drift in drifts}
        live = await self._correct_holds(life, hold_ids)
        async with self._database.reading() as session:
            rows = await inventory_store.read_rows(session, flight_ids)
        for flight_id in sorted(flight_ids):
            of_flight = [row for row in rows if row.flight_id == flight_id]
            await life.inspection.repair_flight(FlightId(flight_id), of_flight, live)

    async def _correct_holds(self, life: Life, hold_ids: Sequence[HoldId]) -> list[HoldId]:
        """Correct the holds; return those that are live in the journal and now in Redis."""
        states = await self._final_states(life, hold_ids)
        live = [i for i in hold_ids if states.get(i) is JournalState.HELD]
        async with self._database.reading() as session:
            holds = await scans.live_among(session, live)
        for start in range(0, len(holds), HOLDS_MAX):
            await life.loading.load_holds(holds[start : start + HOLDS_MAX])
        for hold_id in hold_ids:
            state = states.get(hold_id)
            if state is JournalState.CONFIRMED:
                await self._pins.settle(hold_id)
            elif state is not None and state is not JournalState.HELD:
                await life.holds.end(hold_id, state)
        return live

    async def _final_states(
        self, life: Life, hold_ids: Sequence[HoldId]
    ) -> dict[HoldId, JournalState]:
        """Record expiries that only Redis knows, abort holds without an entry; return the journal's states."""
        seen = await life.inspection.holds(hold_ids)
        expired = [i for i in hold_ids if seen[i].state is MemoState.EXPIRED]

        async def settle_states(session: WriteSession) -> dict[HoldId, JournalState]:
            if await journal.prove_epoch(session, life.number):
                await mark_expired(session, life.number, expired)
                await journal.abort_missing(session, life.number, list(hold_ids))
            return await scans.states(session, hold_ids)

        return await self._database.run_in_transaction(settle_states)
