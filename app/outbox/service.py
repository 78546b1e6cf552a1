"""Reading the facts of a tenant: what `GET /v1/events` answers. Writing is `store.append`."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from app.ids import TenantId
from app.outbox import store
from app.outbox.model import Entry, EventType
from app.storage.database import Database


@dataclass(frozen=True, slots=True)
class EventPage:
    """`entries[-1].position` is where the next page goes on, whether or not there is more yet."""

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
        """The tenant's facts behind position `after`, oldest first; no `types` means all.

        `sees_shared` adds the facts of no tenant. Nothing ever appears before a position given out.
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
