"""Facts and events for tests: to append, publish and read."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text

from app.ids import EventId, TenantId
from app.outbox import store
from app.outbox.model import Aggregate, Event, EventType, Fact
from app.storage.database import Database, WriteSession

NOON = datetime(2026, 12, 10, 12, 0, tzinfo=UTC)
TENANT = TenantId("tenant-1")


def a_fact(
    aggregate_id: str = "bkg_a",
    sequence: int = 1,
    *,
    type: EventType = EventType.BOOKING_CONFIRMED,  # noqa: A002 - the member's name
    tenant_id: TenantId | None = TENANT,
    seconds: float = 0,
    data: Mapping[str, Any] | None = None,
) -> Fact:
    """`seconds` after noon."""
    return Fact(
        type=type,
        version=1,
        tenant_id=tenant_id,
        aggregate_type=type.value.partition(".")[0],
        aggregate_id=aggregate_id,
        sequence=sequence,
        occurred_at=NOON + timedelta(seconds=seconds),
        data=data or {},
    )


def a_shared_fact(flight_id: str = "flt_a", sequence: int = 1, *, seconds: float = 0) -> Fact:
    return a_fact(
        flight_id,
        sequence,
        type=EventType.FLIGHT_INVENTORY_CHANGED,
        tenant_id=None,
        seconds=seconds,
    )


def an_event(fact: Fact | None = None) -> Event:
    fact = fact or a_fact()
    return Event(
        id=fact.event_id,
        type=fact.type.value,
        version=fact.version,
        occurred_at=fact.occurred_at,
        tenant_id=fact.tenant_id,
        aggregate=Aggregate(fact.aggregate_type, fact.aggregate_id),
        sequence=fact.sequence,
        data=fact.data,
    )


async def append(database: Database, *facts: Fact) -> None:
    """All of them in one transaction."""

    async def work(session: WriteSession) -> None:
        for fact in facts:
            await store.append(session, fact)

    await database.run_in_transaction(work)


async def number(database: Database, count: int = 100) -> list[EventId]:
    return await database.run_in_transaction(lambda session: store.number(session, count))


async def rows(database: Database) -> Sequence[Mapping[str, Any]]:
    """The whole outbox, in the order of positions."""
    async with database.reading() as session:
        found = await session.execute(
            text("SELECT * FROM outbox ORDER BY position NULLS LAST, occurred_at, sequence")
        )
        return [dict(row) for row in found.mappings()]


async def execute(database: Database, statement: str) -> None:
    await database.run_in_transaction(lambda session: session.execute(text(statement)))


async def forget_everything(database: Database) -> None:
    """Restore the state that the migrations leave: no fact, no position, no lease."""
    await execute(database, "DELETE FROM outbox")
    await execute(database, "UPDATE outbox_head SET last_position = 0")
    await execute(
        database, "UPDATE relay_leases SET holder = NULL, fence = 0, expires_at = 'epoch'"
    )
