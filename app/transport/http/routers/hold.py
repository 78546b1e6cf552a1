"""`/v1/holds`: seats kept for a customer, all segments or nothing."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import Query, Response
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
from app.concurrency.detached import run_detached
from app.hold import model
from app.hold.errors import SoldOut, no_such_hold
from app.hold.model import ClassChoice, HoldRequest, HoldStatus, instant_of, microseconds
from app.hold.service import HoldService
from app.idempotency.model import Answered
from app.identity.principal import Scope
from app.ids import FLIGHT_ID_PATTERN, FlightId, HoldId, is_hold_id
from app.inventory.itinerary import SEGMENTS_MAX
from app.transport.http.pipeline.dependencies import (
    CurrentPrincipal,
    Idempotency,
    OptionalIdempotency,
    Paging,
)
from app.transport.http.pipeline.guarded_route import ScopedRouter
from app.transport.http.problems.responses import documented
from app.transport.http.problems.violations import refuse
from app.transport.http.wire.cursors import Cursors
from app.transport.http.wire.rendering import counts_json, price_json, segment_json, text_json
from app.transport.http.wire.schemas import (
    BookingClassCode,
    ClientReference,
    Counts,
    CountsIn,
    Input,
    Instant,
    Listing,
    Output,
    Price,
    Segment,
    counts_out,
    listing,
    price_out,
    segment_out,
)

OFFER_ID_MAX = 4096  # characters
_EITHER = "Hold by offer_id, or by segments and passengers."
_CREATED: dict[int | str, dict[str, Any]] = {
    201: {
        "description": "All segments are held.",
        "headers": {
            "Location": {"schema": {"type": "string"}},
            "Idempotent-Replayed": {
                "description": "`true` where this is the first answer again.",
                "schema": {"type": "string", "const": "true"},
            },
        },
    }
}


class SegmentIn(Input):
    flight_id: Annotated[str, StringConstraints(pattern=FLIGHT_ID_PATTERN, max_length=64)]
    booking_class: BookingClassCode


OfferId = Annotated[str, StringConstraints(min_length=1, max_length=OFFER_ID_MAX)]
Segments = Annotated[list[SegmentIn], Field(min_length=1, max_length=SEGMENTS_MAX)]


class HoldByOffer(Input):
    """What an offer says, at its price; the offer stands for 20 minutes."""

    offer_id: OfferId
    client_reference: ClientReference | None = None


class HoldBySegments(Input):
    """One to six distinct flights in the order given, at the fares of the moment in one currency."""

    segments: Segments
    passengers: CountsIn
    client_reference: ClientReference | None = None


class HoldIn(Input):
    """By `offer_id`, at the offer's price; or by `segments`, at the fares of the moment."""

    offer_id: OfferId | None = None
    segments: Segments | None = None
    passengers: CountsIn | None = None
    client_reference: ClientReference | None = None

    @field_validator("segments")
    @classmethod
    def _distinct(cls, segments: list[SegmentIn] | None) -> list[SegmentIn] | None:
        flights = [segment.flight_id for segment in segments or ()]
        if len(set(flights)) < len(flights):
            raise refuse("repeated_flight", "Each segment is on a flight of its own.")
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
        """Told as the two shapes it stands for: a client made of the document has a type for each."""
        shapes: list[type[Input]] = [HoldByOffer, HoldBySegments]
        told = handler(union_schema([shape.__pydantic_core_schema__ for shape in shapes]))
        return {"oneOf": told["anyOf"], "title": cls.__name__, "description": cls.__doc__}

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


def holds_router(holds: HoldService, cursors: Cursors) -> ScopedRouter:
    router = ScopedRouter(scope=Scope.HOLDS_WRITE, prefix="/v1/holds", tags=["holds"])

    @router.post(
        "",
        status_code=201,
        response_model=HoldOut,
        summary="Hold all segments of an itinerary",
        responses={
            **documented("sold_out", "price_changed", "not_for_sale", "offer_expired"),
            **_CREATED,
        },
    )
    async def place_hold(
        caller: CurrentPrincipal, body: HoldIn, key: Idempotency
    ) -> Response | SoldOut:
        """All segments are held for ten minutes, or none is: by an offer's id, at the offer's price, or by
        flights and classes, at the fares of the moment. The seats are the caller's until
        `expires_at`, whatever happens meanwhile; at `expires_at` they are free again.
        """
        answer = await run_detached(holds.try_place(caller.tenant_id, body.value(), key))
        if isinstance(answer, SoldOut):
            return answer
        return _answer(answer, 201, {"Location": f"/v1/holds/{answer.value.hold_id}"})

    @router.get("", summary="List holds, newest first", response_description="One page of holds.")
    async def list_holds(
        caller: CurrentPrincipal,
        paging: Paging,
        status: HoldStatus | None = None,
        client_reference: Annotated[
            str | None, Query(min_length=1, max_length=64, description="As given with the hold.")
        ] = None,
    ) -> Listing[HoldOut]:
        """Of the tenant, whatever became of them."""
        query = ["holds", caller.tenant_id, status, client_reference]
        found, after = await holds.list(
            caller.tenant_id,
            status=status,
            client_reference=client_reference,
            after=_position(cursors, query, paging.after),
            limit=paging.limit,
        )
        cursor = None if after is None else cursors.seal(query, [microseconds(after[0]), after[1]])
        return listing(map(hold_out, found), cursor)

    @router.get(
        "/{hold_id}",
        response_model=HoldOut,
        summary="Read a hold",
        response_description="The hold as it is now.",
        responses=documented("not_found"),
    )
    async def read_hold(caller: CurrentPrincipal, hold_id: str) -> Response:
        """`status` and `expires_in_seconds` are those of this moment."""
        return _answer(Answered(await holds.get(caller.tenant_id, _known_form(hold_id))), 200)

    @router.post(
        "/{hold_id}/extend",
        response_model=HoldOut,
        summary="Extend a live hold, once",
        response_description="The hold with its later end.",
        responses=documented(
            "not_found", "hold_not_active", "extension_limit_reached", "hold_expired"
        ),
    )
    async def extend_hold(
        caller: CurrentPrincipal, hold_id: str, key: OptionalIdempotency
    ) -> Response:
        """`expires_at` moves on by one hold time, once, and only while the hold is live."""
        answer = await run_detached(holds.extend(caller.tenant_id, _known_form(hold_id), key))
        return _answer(answer, 200)

    @router.delete(
        "/{hold_id}",
        status_code=204,
        response_class=Response,  # no content, and so no type of content
        summary="Release a hold",
        response_description="Nobody holds these seats any more.",
        responses=documented("not_found", "hold_not_active"),
    )
    async def release_hold(caller: CurrentPrincipal, hold_id: str) -> None:
        """The seats are free now. May be repeated, also when the hold has run out."""
        await run_detached(holds.release(caller.tenant_id, _known_form(hold_id)))

    return router


def _known_form(hold_id: str) -> HoldId:
    if not is_hold_id(hold_id):
        raise no_such_hold()
    return HoldId(hold_id)


def _position(
    cursors: Cursors, query: list[Any], after: str | None
) -> tuple[datetime, HoldId] | None:
    if after is None:
        return None
    granted_at, hold_id = cursors.open(query, after)
    return instant_of(int(granted_at)), HoldId(str(hold_id))


def _answer(
    answered: Answered[model.Hold], status: int, headers: Mapping[str, str] | None = None
) -> Response:
    told = dict(headers or {})
    if answered.replayed:
        told["Idempotent-Replayed"] = "true"
    return Response(hold_json(answered.value), status, told, media_type="application/json")


def hold_json(hold: model.Hold) -> bytes:
    """As `hold_out`, to the byte, from parts that were rendered before."""
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
