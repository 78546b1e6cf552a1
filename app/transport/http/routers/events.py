"""`GET /v1/events`: the events of the tenant, oldest first, for clients that poll.

`meta.after` is the cursor of the next page, on the last page too: a client keeps it and polls with it for new
events. On an empty page it is the cursor that was sent.
"""

from collections.abc import Collection
from typing import Annotated, Protocol

from fastapi import Depends, Query

from app.identity.principal import Principal, Scope
from app.ids import TenantId
from app.outbox.model import EventType
from app.outbox.service import EventPage
from app.transport.http.pipeline.dependencies import CurrentPrincipal, Paging, SignedCursors
from app.transport.http.pipeline.guarded_route import ScopedRouter
from app.transport.http.pipeline.services import Service
from app.transport.http.wire.cursors import Cursors
from app.transport.http.wire.events import EventListing, EventMeta, event_out

_TYPES_MAX = 20  # entries of `type` in one query


class Events(Protocol):
    """The method of `app.outbox.service.Events` that this endpoint calls."""

    async def page(
        self,
        tenant_id: TenantId,
        *,
        sees_shared: bool,
        after: int | None,
        limit: int,
        types: Collection[EventType],
    ) -> EventPage: ...


EVENTS = Service[Events]("events")
EventsService = Annotated[Events, Depends(EVENTS)]

router = ScopedRouter(scope=Scope.EVENTS_READ, prefix="/v1/events", tags=["events"])


@router.get("", summary="List events, oldest first", response_description="One page of events.")
async def list_events(
    events: EventsService,
    cursors: SignedCursors,
    caller: CurrentPrincipal,
    paging: Paging,
    types: Annotated[
        tuple[EventType, ...],
        Query(
            alias="type",
            max_length=_TYPES_MAX,
            description="Only events of this type; can be repeated.",
        ),
    ] = (),
) -> EventListing:
    """To poll, keep `meta.after` and send it again. No event ever appears before a cursor that was
    returned. `flight.inventory_changed` is listed for callers with `inventory:admin`.
    """
    query = _query(caller, types)
    found = await events.page(
        caller.tenant_id,
        sees_shared=Scope.INVENTORY_ADMIN in caller.scopes,
        after=_position(cursors, query, paging.after),
        limit=paging.limit,
        types=types,
    )
    after = paging.after
    if found.entries:
        after = cursors.seal(query, [found.entries[-1].position])
    return EventListing(
        data=[event_out(entry.event) for entry in found.entries],
        meta=EventMeta(after=after, has_more=found.has_more),
    )


def _query(caller: Principal, types: tuple[EventType, ...]) -> list[str]:
    return ["events", caller.tenant_id, *sorted(set(types))]


def _position(cursors: Cursors, query: list[str], after: str | None) -> int | None:
    if after is None:
        return None
    position = cursors.open(query, after)[0]
    assert isinstance(position, int), "the cursor was sealed by this module"
    return position
