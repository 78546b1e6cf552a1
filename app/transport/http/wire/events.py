"""Schemas of events: the envelope, which is the same on the bus, and a page of them."""

from typing import Any

from pydantic import Field

from app.outbox.model import Event
from app.transport.http.wire.schemas import Instant, Listing, Meta, Output


class AggregateOut(Output):
    type: str = Field(examples=["booking"])
    id: str = Field(examples=["bkg_ukrkp4hkmuwzrbqeajzdplw2xm"])


class EventOut(Output):
    """One event. Delivered at least once: deduplicate by `id`, order by `sequence`."""

    id: str = Field(examples=["evt_3yyn5gcuwvkutmkwn5pevx3ite"])
    type: str = Field(description="Ignore unknown types; more may be added.")
    version: int = Field(description="The version of the schema of `data` for this `type`.")
    occurred_at: Instant
    tenant_id: str | None = Field(description="null if the event concerns all tenants.")
    aggregate: AggregateOut
    sequence: int = Field(ge=1, description="Starts at 1 within the aggregate, without gaps.")
    data: dict[str, Any] = Field(
        description="What changed; without passenger data and record locator."
    )


class EventMeta(Meta):
    after: str | None = Field(
        description="The cursor of the next page, now or later; null only before the first event."
    )
    has_more: bool = Field(description="false: there are no further events yet; poll again later.")


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
