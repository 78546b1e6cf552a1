"""Schemas of holds, for requests and answers."""

from typing import Annotated, Self

from pydantic import (
    Field,
    GetJsonSchemaHandler,
    StringConstraints,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core.core_schema import CoreSchema, union_schema

from app.clock import instant_text
from app.hold import model
from app.hold.model import ClassChoice, HoldRequest, HoldStatus
from app.ids import FLIGHT_ID_PATTERN, FlightId
from app.inventory.itinerary import SEGMENTS_MAX
from app.transport.http.problems.violations import refuse
from app.transport.http.wire.rendering import counts_json, price_json, segment_json, text_json
from app.transport.http.wire.schemas import (
    BookingClassCode,
    ClientReference,
    Counts,
    CountsIn,
    Input,
    Instant,
    Output,
    Price,
    Segment,
    counts_out,
    price_out,
    segment_out,
)

OFFER_ID_MAX = 4096  # characters
_EITHER = "must have either offer_id, or segments and passengers"


class SegmentIn(Input):
    flight_id: Annotated[str, StringConstraints(pattern=FLIGHT_ID_PATTERN, max_length=64)]
    booking_class: BookingClassCode


OfferId = Annotated[str, StringConstraints(min_length=1, max_length=OFFER_ID_MAX)]
Segments = Annotated[list[SegmentIn], Field(min_length=1, max_length=SEGMENTS_MAX)]


class HoldByOffer(Input):
    """The seats of an offer, at its price. An offer is valid for 20 minutes."""

    offer_id: OfferId
    client_reference: ClientReference | None = None


class HoldBySegments(Input):
    """One to six distinct flights in order, at current fares in one currency."""

    segments: Segments
    passengers: CountsIn
    client_reference: ClientReference | None = None


class HoldIn(Input):
    """By `offer_id`, at the price of the offer; or by `segments`, at current fares."""

    offer_id: OfferId | None = None
    segments: Segments | None = None
    passengers: CountsIn | None = None
    client_reference: ClientReference | None = None

    @field_validator("segments")
    @classmethod
    def _distinct(cls, segments: list[SegmentIn] | None) -> list[SegmentIn] | None:
        flights = [segment.flight_id for segment in segments or ()]
        if len(set(flights)) < len(flights):
            raise refuse("repeated_flight", "must be on a flight of its own")
        return segments

    @model_validator(mode="after")
    def _either(self) -> Self:
        by_offer = self.offer_id is not None
        if by_offer == (self.segments is not None) or by_offer == (self.passengers is not None):
            raise refuse("invalid", _EITHER)
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, _schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Documented as two schemas, so that generated clients have a type for each."""
        schemas: list[type[Input]] = [HoldByOffer, HoldBySegments]
        schema = handler(union_schema([one.__pydantic_core_schema__ for one in schemas]))
        return {"oneOf": schema["anyOf"], "title": cls.__name__, "description": cls.__doc__}

    def value(self) -> HoldRequest:
        return HoldRequest(
            self.offer_id,
            tuple(
                ClassChoice(FlightId(segment.flight_id), segment.booking_class)
                for segment in self.segments or ()
            ),
            None if self.passengers is None else self.passengers.value(),
            self.client_reference,
        )


class HoldOut(Output):
    id: str = Field(examples=["hold_5a47ufr7dwcpjtksgnmxthdpjm"])
    status: HoldStatus
    segments: list[Segment]
    passengers: Counts
    price: Price
    expires_at: Instant
    expires_in_seconds: int
    price_guaranteed_until: Instant
    extensions_remaining: int
    client_reference: str | None
    booking_id: str | None
    created_at: Instant


def hold_json(hold: model.Hold) -> bytes:
    """Equal to the JSON of `hold_out`, byte for byte, assembled from cached parts."""
    expires_at = instant_text(hold.expires_at)
    guaranteed = hold.price_guaranteed_until
    until = expires_at if guaranteed == hold.expires_at else instant_text(guaranteed)
    return (
        f'{{"id":"{hold.hold_id}","status":"{hold.status}",'
        f'"segments":[{",".join(map(segment_json, hold.segments))}],'
        f'"passengers":{counts_json(hold.passengers)},"price":{price_json(hold.price)},'
        f'"expires_at":"{expires_at}","expires_in_seconds":{hold.expires_in_seconds},'
        f'"price_guaranteed_until":"{until}","extensions_remaining":{hold.extensions_remaining},'
        f'"client_reference":{text_json(hold.client_reference)},'
        f'"booking_id":{text_json(hold.booking_id)},"created_at":"{instant_text(hold.created_at)}"}}'
    ).encode()


def hold_out(hold: model.Hold) -> HoldOut:
    return HoldOut(
        id=hold.hold_id,
        status=hold.status,
        segments=[segment_out(segment) for segment in hold.segments],
        passengers=counts_out(hold.passengers),
        price=price_out(hold.price),
        expires_at=hold.expires_at,
        expires_in_seconds=hold.expires_in_seconds,
        price_guaranteed_until=hold.price_guaranteed_until,
        extensions_remaining=hold.extensions_remaining,
        client_reference=hold.client_reference,
        booking_id=hold.booking_id,
        created_at=hold.created_at,
    )
