"""From journal entries to what a client sees, now or as first answered.

Only Redis, in the open epoch, decides that a hold has expired. The journal records that before the client
is answered.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from app.errors import HoldStoreUnavailable
from app.hold.epochs.current import CurrentEpoch
from app.hold.expiry import mark_expired
from app.hold.journal import store as journal
from app.hold.model import (
    EXTENSIONS_MAX,
    Hold,
    HoldStatus,
    JournalEntry,
    JournalState,
    MemoReading,
    MemoState,
)
from app.hold.redis.life import Life
from app.ids import HoldId, booking_id
from app.storage.database import Database, WriteSession

_STATUS = {
    JournalState.HELD: HoldStatus.ACTIVE,
    JournalState.CONFIRMED: HoldStatus.BOOKED,
    JournalState.RELEASED: HoldStatus.RELEASED,
    JournalState.EXPIRED: HoldStatus.EXPIRED,
}
STATES_OF: dict[HoldStatus | None, tuple[JournalState, ...]] = {
    None: tuple(_STATUS),
    HoldStatus.ACTIVE: (JournalState.HELD,),
    HoldStatus.BOOKED: (JournalState.CONFIRMED,),
    HoldStatus.RELEASED: (JournalState.RELEASED,),
    HoldStatus.EXPIRED: (JournalState.EXPIRED, JournalState.HELD),  # ran out, not yet written down
}


class HoldViews:
    def __init__(self, database: Database, epochs: CurrentEpoch) -> None:
        self._database = database
        self._epochs = epochs

    async def current(self, entries: Sequence[JournalEntry]) -> list[Hold]:
        """Each as it is now; HoldStoreUnavailable where Redis lost sight of a live one."""
        readings: dict[HoldId, MemoReading] = {}
        entries = list(entries)
        held = [entry.hold_id for entry in entries if entry.state is JournalState.HELD]
        if held:
            epoch, readings = await self._read_memos(held)
            expired = [i for i, seen in readings.items() if seen.state is MemoState.EXPIRED]
            if expired:
                await self._record_expiry(epoch, expired)
            moved = {i for i, seen in readings.items() if seen.state not in _ALIVE}
            entries = [p if p.hold_id not in moved else await self._read_again(p) for p in entries]
        return [_view(entry, readings.get(entry.hold_id)) for entry in entries]

    async def _read_memos(self, held: list[HoldId]) -> tuple[int, dict[HoldId, MemoReading]]:
        async def read_memos(life: Life) -> tuple[int, dict[HoldId, MemoReading]]:
            return life.number, await life.holds.read_memos(held)

        return await self._epochs.run(read_memos)

    async def _record_expiry(self, epoch: int, expired: list[HoldId]) -> None:
        async def write(session: WriteSession) -> None:
            if not await mark_expired(session, epoch, expired):
                raise HoldStoreUnavailable

        await self._database.run_in_transaction(write)

    async def _read_again(self, entry: JournalEntry) -> JournalEntry:
        """The row as it is after Redis said it is no longer held."""
        async with self._database.reading() as session:
            now = await journal.read(session, entry.hold_id)
        if now is None or now.state is JournalState.HELD:
            raise HoldStoreUnavailable  # unknown to Redis, held in the journal: neither is an answer
        return now


def original_answer(entry: JournalEntry) -> Hold:
    """The first answer, whatever happened since."""
    return Hold(
        hold_id=entry.hold_id,
        status=HoldStatus.ACTIVE,
        segments=entry.segments,
        passengers=entry.passengers,
        price=entry.price,
        expires_at=entry.first_expires_at,
        expires_in_seconds=_seconds(entry.first_expires_at - entry.granted_at),
        price_guaranteed_until=entry.first_expires_at,
        extensions_remaining=EXTENSIONS_MAX,
        client_reference=entry.client_reference,
        booking_id=None,
        created_at=entry.granted_at,
    )


def extended_answer(entry: JournalEntry, expires_at: datetime, seconds: int) -> Hold:
    """The answer to the extension, whatever happened since."""
    return replace(
        original_answer(entry),
        expires_at=expires_at,
        price_guaranteed_until=expires_at,
        expires_in_seconds=seconds,
        extensions_remaining=EXTENSIONS_MAX - 1,
    )


def seconds_between(earlier: datetime, later: datetime) -> int:
    return _seconds(later - earlier)


def _view(entry: JournalEntry, seen: MemoReading | None) -> Hold:
    is_booked = entry.state is JournalState.CONFIRMED
    is_live = entry.state is JournalState.HELD and seen is not None
    return Hold(
        hold_id=entry.hold_id,
        status=_STATUS[entry.state],
        segments=entry.segments,
        passengers=entry.passengers,
        price=entry.price,
        expires_at=entry.expires_at,
        expires_in_seconds=_seconds(entry.expires_at - seen.now) if is_live and seen else 0,
        price_guaranteed_until=entry.expires_at,
        extensions_remaining=EXTENSIONS_MAX - entry.extensions_used,
        client_reference=entry.client_reference,
        booking_id=booking_id(entry.hold_id) if is_booked else None,
        created_at=entry.granted_at,
    )


def _seconds(left: timedelta) -> int:
    return max(0, int(left.total_seconds()))


_ALIVE = (MemoState.HELD, MemoState.PINNED)
