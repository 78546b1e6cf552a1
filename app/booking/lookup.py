"""What is known before a booking begins, read for concurrent requests together."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.booking import store
from app.booking.sale import ROUTE
from app.concurrency.coalescer import BATCH_MAX, Coalescer
from app.hold.journal import store as journal
from app.hold.model import JournalEntry
from app.idempotency import store as idempotency
from app.idempotency.model import IdempotencyKey, Record
from app.ids import BookingId, HoldId, TenantId
from app.storage.database import Database


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    tenant_id: TenantId
    key: IdempotencyKey
    hold_id: HoldId
    client_reference: str | None


@dataclass(frozen=True, slots=True)
class Known:
    record: Record | None  # of the first answer to the key, whatever was asked then
    promise: JournalEntry | None  # the hold's, whoever's it is
    duplicate_of: BookingId | None  # a booking with the same client_reference


class Lookup:
    def __init__(self, database: Database, *, batch_max: int = BATCH_MAX) -> None:
        self._database = database
        self._questions: Coalescer[Question, Known] = Coalescer(
            self._look, key=id, batch_max=batch_max
        )

    async def ask(self, question: Question) -> Known:
        return await self._questions.submit(question)

    async def _look(self, questions: Sequence[Question]) -> list[Known | Exception]:
        asked = {(question.tenant_id, question.key.key) for question in questions}
        references = {
            (question.tenant_id, question.client_reference)
            for question in questions
            if question.client_reference is not None
        }
        async with self._database.reading() as session:
            records = await idempotency.find_all(session, ROUTE, asked)
            promises = await journal.read_all(session, {question.hold_id for question in questions})
            taken = await store.with_client_references(session, references) if references else {}
        return [
            Known(
                records.get((question.tenant_id, question.key.key)),
                promises.get(question.hold_id),
                taken.get((question.tenant_id, question.client_reference or "")),
            )
            for question in questions
        ]
