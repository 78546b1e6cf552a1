"""Reads a tenant's events for `GET /v1/events`. Features write them with `store.append`."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from app.ids import TenantId
from app.outbox import store
from app.outbox.model import Entry, EventType
from app.storage.database import Database


@dataclass(frozen=True, slots=True)
class EventPage:
    """The next page begins after `entries[-1].position`, whether or not there is more yet."""

    entries: Sequence[Entry]
    has_more: bool


class Events:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self,
        tenant_id: TenantId,
        *,
        sees_shared: bool,
        after: int | None,
        limit: int,
        types: Collection[EventType] = (),
    ) -> EventPage:
        """The tenant's events after position `after`, oldest first; no `types` means all.

        `sees_shared` adds the events of no tenant. No event ever appears before a position that was
        handed out.
        """
        async with self._database.reading() as session:
            found = await store.page(
                session,
                tenant_id,
                include_shared=sees_shared,
                after_position=after or 0,
                limit=limit + 1,
                types=types,
            )
        return EventPage(found[:limit], has_more=len(found) > limit)
