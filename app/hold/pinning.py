"""Pinning: pin a hold before its booking's transaction, finish it afterwards, settle it after a failure.

A pinned hold does not expire. Only the journal, with a raised fencing token, gives it back: two bookings of
one hold have the same token, so a process never unpins because it assumes that its transaction failed.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from app.errors import HoldStoreUnavailable
from app.hold.epochs.current import CurrentEpoch
from app.hold.errors import refusal_of
from app.hold.expiry import mark_expired
from app.hold.journal import store as journal
from app.hold.model import JournalEntry, JournalState, MemoState, Pinned
from app.hold.redis.life import Life
from app.ids import HoldId
from app.inventory import store as inventory_store
from app.inventory.model import InventoryRow
from app.storage.database import Database, ReadSession, WriteSession

T = TypeVar("T")

FINISHES_MAX: Final = 3
PATIENCE_SECONDS: Final = 4.5  # longer than it takes to end the epoch of an unreachable hold store
PAUSE_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class PinProof:
    """What the booking's transaction proves: this epoch, this fencing token.

    `epoch` None: no epoch is open. Nothing expires meanwhile, so no pin is needed.
    """

    hold_id: HoldId
    epoch: int | None
    fencing_token: int | None


class Pins:
    def __init__(self, database: Database, epochs: CurrentEpoch) -> None:
        self._database = database
        self._epochs = epochs

    async def pin(self, hold_id: HoldId) -> PinProof:
        """Raises HoldExpired or HoldNotActive if the journal says so, never on an answer of Redis alone."""

        async def pin(life: Life) -> PinProof | tuple[int, MemoState]:
            outcome = await life.holds.pin(hold_id)
            if isinstance(outcome, Pinned):
                return PinProof(hold_id, life.number, outcome.fencing_token)
            return life.number, outcome

        outcome = await self._run_or_none(pin)
        if outcome is None:
            return PinProof(hold_id, None, None)
        if isinstance(outcome, PinProof):
            return outcome
        epoch, state = outcome
        raise await self.refusal(epoch, hold_id, state)

    async def _run_or_none(self, pin: Callable[[Life], Awaitable[T]]) -> T | None:
        """None where no epoch is open. The epoch of an unreachable hold store is ended within seconds."""
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENCE_SECONDS
        while True:
            try:
                return await self._epochs.run(pin)
            except HoldStoreUnavailable:
                if not (await self._epochs.read()).is_open:
                    return None
                if loop.time() >= until:
                    raise
                self._epochs.alarm.set()
            await asyncio.sleep(PAUSE_SECONDS)

    async def prove(self, session: WriteSession, proof: PinProof) -> bool:
        """The proof of the epoch, at the beginning of the booking's transaction."""
        if proof.epoch is None:
            return await journal.prove_rebuilding(session)
        return await journal.prove_epoch(session, proof.epoch)

    async def confirm(self, session: WriteSession, proofs: Sequence[PinProof]) -> set[HoldId]:
        """HELD → CONFIRMED for each hold that is still pinned by its proof; names those."""
        return await journal.confirm(
            session, {proof.hold_id: proof.fencing_token for proof in proofs}
        )

    async def finish(self, hold_id: HoldId, rows: Sequence[InventoryRow]) -> None:
        """Called after the commit. If it fails, the resolver does it later from the journal."""
        for left in reversed(range(FINISHES_MAX)):
            try:
                await self._epochs.run(lambda life: life.holds.finish(hold_id, rows))
                break
            except HoldStoreUnavailable:
                if left == 0:
                    raise

    async def settle(self, hold_id: HoldId) -> None:
        """Makes Redis agree with the journal. It may run at any time, in any process, repeatedly.

        Locking the journal row waits for a booking that is under way; what is read then is final.
        """

        async def settle(life: Life) -> None:
            settled = await self._database.run_in_transaction(
                lambda session: _settle_in_journal(session, life.number, hold_id)
            )
            if settled is None:
                raise HoldStoreUnavailable
            entry, rows = settled
            match entry.state:
                case JournalState.HELD:
                    await life.holds.unpin(hold_id, entry.fencing_token)
                case JournalState.CONFIRMED:
                    await life.holds.finish(hold_id, rows)
                case ended:
                    await life.holds.end(hold_id, ended)

        await self._epochs.run(settle)

    async def refusal(self, epoch: int, hold_id: HoldId, state: MemoState) -> Exception:
        """The error for a hold that Redis, in `epoch`, does not see alive: the journal says which."""

        async def judge(session: WriteSession) -> JournalEntry | HoldStoreUnavailable | None:
            if not await journal.prove_epoch(session, epoch):
                return HoldStoreUnavailable()
            if state is MemoState.EXPIRED:
                await mark_expired(session, epoch, [hold_id])
            return await journal.read(session, hold_id)

        entry = await self._database.run_in_transaction(judge)
        if isinstance(entry, HoldStoreUnavailable):
            return entry
        # HELD: Redis lost the hold, which is no reason to refuse it.
        return refusal_of(None if entry is None else entry.state) or HoldStoreUnavailable()


async def read_entries(
    session: ReadSession, hold_ids: Iterable[HoldId]
) -> dict[HoldId, JournalEntry]:
    """The journal entries that exist, of any tenant: the caller compares the tenant."""
    return await journal.read_all(session, hold_ids)


async def _settle_in_journal(
    session: WriteSession, epoch: int, hold_id: HoldId
) -> tuple[JournalEntry, list[InventoryRow]] | None:
    """The entry in its final state, with its fencing token raised where it is still HELD."""
    if not await journal.prove_epoch(session, epoch):
        return None
    entry = await journal.lock(session, hold_id)
    if entry is None:  # granted, pinned and never promised: it must not be promised now
        await journal.abort_missing(session, epoch, [hold_id])
        entry = await journal.lock(session, hold_id)
        assert entry is not None, "aborted, or written just before that"
    if entry.state is JournalState.HELD:
        await journal.raise_fencing_token(session, hold_id)
        entry = await journal.lock(session, hold_id)
        assert entry is not None, "the row is locked"
    rows = await inventory_store.read_rows(session, {line.flight_id for line in entry.lines})
    return entry, rows
