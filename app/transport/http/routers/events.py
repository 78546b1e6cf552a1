"""`GET /v1/events`: the tenant's facts, oldest first, for whoever would rather ask than be told.

`meta.after` is where to go on, and is there on the last page too: a poller keeps it, asks again and
gets only what is new. On an empty page it is the cursor that was sent.
"""

from typing import Annotated, Any

from fastapi import Query
from pydantic import Field

from app.identity.principal import Principal, Scope
from app.outbox.model import Event, EventType
from app.outbox.service import Events
from app.transport.http.pipeline.dependencies import CurrentPrincipal, Paging
from app.transport.http.pipeline.guarded_route import ScopedRouter
from app.transport.http.wire.cursors import Cursors
from app.transport.http.wire.schemas import Instant, Listing, Meta, Output

_TYPES_MAX = 20  # entries of `type` in one query


class AggregateOut(Output):
    type: str = Field(examples=["booking"])
    id: str = Field(examples=["bkg_ukrkp4hkmuwzrbqeajzdplw2xm"])


class EventOut(Output):
    """One fact. Delivered at least once: dedupe by `id`, order by `sequence`."""

    id: str = Field(examples=["evt_3yyn5gcuwvkutmkwn5pevx3ite"])
    type: str = Field(description="More types may come; ignore those you do not know.")
    version: int = Field(description="Of the shape of `data` for this `type`.")
    occurred_at: Instant
    tenant_id: str | None = Field(description="null where the fact concerns all tenants.")
    aggregate: AggregateOut
    sequence: int = Field(ge=1, description="From 1 within the aggregate, without gaps.")
    data: dict[str, Any] = Field(
        description="What changed, without passenger data and without the record locator."
    )


class EventMeta(Meta):
    after: str | None = Field(
        description="Where to go on, now or later; null only before the first event ever."
    )
    has_more: bool = Field(description="false: there is nothing further yet; ask again later.")


class EventListing(Listing[EventOut]):
    meta: EventMeta


def events_router(events: Events, cursors: Cursors) -> ScopedRouter:
    router = ScopedRouter(scope=Scope.EVENTS_READ, prefix="/v1/events", tags=["events"])

    @router.get("", summary="List events, oldest first", response_description="One page of events.")
    async def list_events(
        caller: CurrentPrincipal,
        paging: Paging,
        types: Annotated[
            tuple[EventType, ...],
            Query(alias="type", max_length=_TYPES_MAX, description="Only these; may be repeated."),
        ] = (),
    ) -> EventListing:
        """Also for polling: keep `meta.after` and ask again. Nothing ever appears before a cursor
        already handed out. `flight.inventory_changed` is listed for `inventory:admin`.
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

    return router


def _query(caller: Principal, types: tuple[EventType, ...]) -> list[str]:
    return ["events", caller.tenant_id, *sorted(set(types))]


def _position(cursors: Cursors, query: list[str], after: str | None) -> int | None:
    if after is None:
        return None
    position = cursors.open(query, after)[0]
    assert isinstance(position, int), "what we signed is what we sealed"
    return position


def event_out(event: Event) -> EventOut:
    return EventOut(
        id=event.id,
        type=event.type,
        version=event.version,
        occurred_at=event.occurred_at,
        tenant_id=event.tenant_id,
        aggregate=AggregateOut(type=event.aggregate.type, id=event.aggregate.id),
        sequence=event.sequence,
        data=dict(event.data),
    )
