"""Marks holds as EXPIRED in the journal after Redis has expired them: the only place that does."""

from app.hold.journal import store as journal
from app.ids import HoldId
from app.storage.database import WriteSession


async def mark_expired(
    session: WriteSession, confirmed_by_epoch: int, hold_ids: list[HoldId]
) -> bool:
    """HELD → EXPIRED, as Redis found in that epoch; False, and no change, if the epoch is over.

    A hold that has no row is aborted, so that a slow writer cannot promise it afterwards.
    """
    if not await journal.prove_epoch(session, confirmed_by_epoch):
        return False
    # First those without a row: this waits for a writer of such a row, whose row is then seen below.
    await journal.abort_missing(session, confirmed_by_epoch, hold_ids)
    await journal.expire(session, hold_ids)
    return True
