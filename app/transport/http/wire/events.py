"""Events on the wire: the envelope that also leaves on the bus, and a page of them."""

from typing import Any

from pydantic import Field

from app.outbox.model import Event
from app.transport.http.wire.schemas import Instant, Listing, Meta, Output


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
