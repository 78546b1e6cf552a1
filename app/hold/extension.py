"""One more TTL, once, while the hold is live: first in Redis, then promised in the journal.

Concurrent requests share a transaction. Where one of them cannot be served with the others, nothing is
done, and smaller groups are tried, down to single requests.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from app.clock import Clock
from app.concurrency.coalescer import BATCH_MAX, Coalescer, SplitBatch, batch_or_each
from app.errors import HoldStoreUnavailable, IdempotencyKeyReused
from app.hold.errors import ExtensionLimitReached, HoldNotActive
from app.hold.journal import store as journal
from app.hold.model import Extended, Hold, JournalEntry, JournalState
from app.hold.views import extended_answer, seconds_between
from app.idempotency import store as idempotency
from app.idempotency.model import Answered, IdempotencyKey, IdempotencyRecord, NewRecord
from app.storage.database import Database, WriteSession
from app.storage.transaction import SHORT_LOCK_TIMEOUT

ROUTE: Final = "holds.extend"


@dataclass(frozen=True, slots=True, eq=False)
class Extension:
    """What Redis granted, in `epoch`."""

    entry: JournalEntry
    epoch: int
    extended: Extended
    key: IdempotencyKey | None

    @property
    def seconds(self) -> int:
        return seconds_between(self.extended.now, self.extended.expires_at)

    @property
    def facts(self) -> dict[str, Any]:
        return {"expires_at": self.extended.expires_at.isoformat(), "seconds": self.seconds}


class Extensions:
    def __init__(self, database: Database, clock: Clock, *, batch_max: int = BATCH_MAX) -> None:
        self._database = database
        self._clock = clock
        self._extensions: Coalescer[Extension, Answered[Hold]] = Coalescer(
            self._write,
            key=lambda extension: extension.entry.hold_id,
            batch_max=batch_max,
        )

    async def record(self, extension: Extension) -> Answered[Hold]:
        """Raises ExtensionLimitReached, HoldNotActive, IdempotencyKeyReused, and HoldStoreUnavailable
        where the epoch is over.
        """
        return await self._extensions.submit(extension)

    async def _write(
        self, extensions: Sequence[Extension]
    ) -> Sequence[Answered[Hold] | asyncio.Task[Answered[Hold]]]:
        return await batch_or_each(extensions, self._write_batch, self._write_one)

    async def _write_batch(self, extensions: Sequence[Extension]) -> list[Answered[Hold]]:
        epochs = {extension.epoch for extension in extensions}
        records = [
            NewRecord(
                extension.entry.tenant_id,
                extension.key,
                extension.entry.hold_id,
                extension.facts,
            )
            for extension in extensions
            if extension.key is not None
        ]

        async def write(session: WriteSession) -> None:
            await session.execute(SHORT_LOCK_TIMEOUT)
            if records and not await idempotency.insert_all(session, ROUTE, records, self._clock()):
                raise SplitBatch
            if len(epochs) > 1 or not await journal.prove_epoch(session, *epochs):
                raise SplitBatch
            if len(await journal.extend(session, _times(extensions))) < len(extensions):
                raise SplitBatch

        await self._database.run_in_transaction(write)
        return [_answer(extension) for extension in extensions]

    async def _write_one(self, extension: Extension) -> Answered[Hold]:
        entry, key = extension.entry, extension.key

        async def write(session: WriteSession) -> IdempotencyRecord | None:
            if key is not None:
                record = await idempotency.insert_or_find(
                    session,
                    entry.tenant_id,
                    ROUTE,
                    key,
                    entry.hold_id,
                    extension.facts,
                    self._clock(),
                )
                if record is not None:
                    return record
            if not await journal.prove_epoch(session, extension.epoch):
                raise HoldStoreUnavailable
            if not await journal.extend(session, _times([extension])):
                now = await journal.read(session, entry.hold_id)
                if now is not None and now.state is JournalState.HELD:
                    raise ExtensionLimitReached
                raise HoldNotActive("The hold ended while it was being extended.")
            return None

        record = await self._database.run_in_transaction(write)
        return _answer(extension) if record is None else replayed_extension(entry, record)


def replayed_extension(entry: JournalEntry, record: IdempotencyRecord) -> Answered[Hold]:
    """The first answer again; raises IdempotencyKeyReused where it was about another hold."""
    if record.subject_id != entry.hold_id:
        raise IdempotencyKeyReused
    facts: Mapping[str, Any] = record.facts
    expires_at = datetime.fromisoformat(facts["expires_at"])
    return Answered(extended_answer(entry, expires_at, facts["seconds"]), replayed=True)


def _times(extensions: Sequence[Extension]) -> list[journal.NewEnd]:
    return [
        journal.NewEnd(
            extension.entry.tenant_id, extension.entry.hold_id, extension.extended.expires_at
        )
        for extension in extensions
    ]


def _answer(extension: Extension) -> Answered[Hold]:
    expires_at = extension.extended.expires_at
    return Answered(extended_answer(extension.entry, expires_at, extension.seconds))
