"""Marks holds as expired in the journal, on the word of Redis: the one place that does."""

from app.hold.journal import store as journal
from app.ids import HoldId
from app.storage.database import WriteSession


async def mark_expired(session: WriteSession, epoch: int, hold_ids: list[HoldId]) -> bool:
    """HELD → EXPIRED because Redis said so in `epoch`; False, and nothing, where the epoch is over.

    One that has no row was never promised: it is aborted, lest a slow writer promise it now.
    """
    if not await journal.prove_epoch(session, epoch):
        return False
    # First those without a row: this waits for whoever is writing one, and then it is seen.
    await journal.abort_missing(session, epoch, hold_ids)
    await journal.expire(session, hold_ids)
    return True
