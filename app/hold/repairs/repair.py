"""Mends what the reconciler found, and takes no seat from anyone.

Piece by piece, while requests go on: what the journal ended is ended, what it promises is loaded, what
nobody was promised is aborted there first and then freed, rows are taken over, and what is held is
counted anew. What cannot be mended so is mended by a new epoch.
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
    left: int
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

    async def mend(self, drifts: Sequence[Drift], grace: timedelta = GRACE) -> Repaired:
        """`grace` is the reconciler's, which looks again afterwards."""
        try:
            await self._epochs.run(lambda life: self._mend(life, drifts))
            left = await self._reconciler.compare(grace)
        except HoldStoreUnavailable:
            left = list(drifts)
        if not left:
            return Repaired(len(drifts), 0, with_new_epoch=False)
        await self._guardian.start_over()
        left = await self._reconciler.compare(grace)
        return Repaired(len(drifts), len(left), with_new_epoch=True)

    async def _mend(self, life: Life, drifts: Sequence[Drift]) -> None:
        hold_ids = sorted({drift.hold_id for drift in drifts if drift.hold_id is not None})
        flight_ids = {drift.flight_id for drift in drifts}
        live = await self._mend_holds(life, hold_ids)
        async with self._database.reading() as session:
            rows = await inventory_store.read_rows(session, flight_ids)
        for flight_id in sorted(flight_ids):
            of_flight = [row for row in rows if row.flight_id == flight_id]
            await life.inspection.repair_flight(FlightId(flight_id), of_flight, live)

    async def _mend_holds(self, life: Life, hold_ids: Sequence[HoldId]) -> list[HoldId]:
        """Those that are live, in Redis as in the journal."""
        states = await self._judged(life, hold_ids)
        promised = [i for i in hold_ids if states.get(i) is JournalState.HELD]
        async with self._database.reading() as session:
            holds = await scans.live_among(session, promised)
        for start in range(0, len(holds), HOLDS_MAX):
            await life.loading.load_holds(holds[start : start + HOLDS_MAX])
        for hold_id in hold_ids:
            state = states.get(hold_id)
            if state is JournalState.CONFIRMED:
                await self._pins.settle(hold_id)
            elif state is not None and state is not JournalState.HELD:
                await life.holds.end(hold_id, state)
        return promised

    async def _judged(self, life: Life, hold_ids: Sequence[HoldId]) -> dict[HoldId, JournalState]:
        """As the journal has them, once it was told what Redis alone can say and what nobody promised."""
        seen = await life.inspection.holds(hold_ids)
        expired = [i for i in hold_ids if seen[i].state is MemoState.EXPIRED]

        async def judge(session: WriteSession) -> dict[HoldId, JournalState]:
            if await journal.prove_epoch(session, life.number):
                await mark_expired(session, life.number, expired)
                await journal.abort_missing(session, life.number, list(hold_ids))
            return await scans.states(session, hold_ids)

        return await self._database.run_in_transaction(judge)
