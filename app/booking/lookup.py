"""What is known before a booking begins, read for concurrent requests together."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.booking import store
from app.booking.sale import ROUTE
from app.concurrency.coalescer import BATCH_MAX, Coalescer
from app.hold.model import JournalEntry
from app.hold.pinning import read_entries
from app.idempotency import store as idempotency
from app.idempotency.model import IdempotencyKey, IdempotencyRecord
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
    record: IdempotencyRecord | None  # of the first answer to the key, whatever the request was
    entry: JournalEntry | None  # the hold's, of any tenant
    duplicate_of: BookingId | None  # a booking with the same client_reference


Lookup = Coalescer[Question, Known]


def lookup_in(database: Database, *, batch_max: int = BATCH_MAX) -> Lookup:
    """Answers the questions of concurrent requests by three statements in one read transaction."""

    async def answer(questions: Sequence[Question]) -> list[Known | Exception]:
        asked = {(question.tenant_id, question.key.key) for question in questions}
        references = {
            (question.tenant_id, question.client_reference)
            for question in questions
            if question.client_reference is not None
        }
        async with database.reading() as session:
            records = await idempotency.find_all(session, ROUTE, asked)
            entries = await read_entries(session, {question.hold_id for question in questions})
            taken = await store.with_client_references(session, references) if references else {}
        return [
            Known(
                records.get((question.tenant_id, question.key.key)),
                entries.get(question.hold_id),
                taken.get((question.tenant_id, question.client_reference or "")),
            )
            for question in questions
        ]

    return Coalescer(answer, key=id, batch_max=batch_max)
