"""`/v1/holds`: seats kept for a customer for ten minutes, all segments or none."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Protocol

from fastapi import Depends, Query, Response

from app.concurrency.detached import run_detached
from app.hold.errors import SoldOut, no_such_hold
from app.hold.model import Hold, HoldRequest, HoldStatus, instant_of, microseconds
from app.idempotency.model import Answered, IdempotencyKey
from app.identity.principal import Scope
from app.ids import HoldId, TenantId, is_hold_id
from app.transport.http.pipeline.dependencies import (
    CurrentPrincipal,
    Idempotency,
    OptionalIdempotency,
    Paging,
    SignedCursors,
)
from app.transport.http.pipeline.guarded_route import ScopedRouter
from app.transport.http.pipeline.services import Service
from app.transport.http.problems.responses import documented
from app.transport.http.wire.cursors import Cursors
from app.transport.http.wire.holds import HoldIn, HoldOut, hold_json, hold_out
from app.transport.http.wire.schemas import Listing, listing

_CREATED: dict[int | str, dict[str, Any]] = {
    201: {
        "description": "All segments are held.",
        "headers": {
            "Location": {"schema": {"type": "string"}},
            "Idempotent-Replayed": {
                "description": "`true` if this is the first answer again.",
                "schema": {"type": "string", "const": "true"},
            },
        },
    }
}


class Holds(Protocol):
    """The methods of `app.hold.service.HoldService` that these endpoints call."""

    async def try_place(
        self, tenant_id: TenantId, request: HoldRequest, key: IdempotencyKey
    ) -> Answered[Hold] | SoldOut: ...

    async def get(self, tenant_id: TenantId, hold_id: HoldId) -> Hold: ...

    async def extend(
        self, tenant_id: TenantId, hold_id: HoldId, key: IdempotencyKey | None
    ) -> Answered[Hold]: ...

    async def release(self, tenant_id: TenantId, hold_id: HoldId) -> None: ...

    async def list(
        self,
        tenant_id: TenantId,
        *,
        status: HoldStatus | None,
        client_reference: str | None,
        after: tuple[datetime, HoldId] | None,
        limit: int,
    ) -> tuple[list[Hold], tuple[datetime, HoldId] | None]: ...


HOLDS = Service[Holds]("holds")
HoldsService = Annotated[Holds, Depends(HOLDS)]

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
    holds: HoldsService, caller: CurrentPrincipal, body: HoldIn, key: Idempotency
) -> Response | SoldOut:
    """Hold all segments for ten minutes, or none: by the id of an offer, at its price, or by flights
    and classes, at current fares. The seats are reserved until `expires_at`, and free again after that.
    """
    answer = await run_detached(holds.try_place(caller.tenant_id, body.value(), key))
    if isinstance(answer, SoldOut):
        return answer
    return _answer(answer, 201, {"Location": f"/v1/holds/{answer.value.hold_id}"})


@router.get("", summary="List holds, newest first", response_description="One page of holds.")
async def list_holds(
    holds: HoldsService,
    cursors: SignedCursors,
    caller: CurrentPrincipal,
    paging: Paging,
    status: HoldStatus | None = None,
    client_reference: Annotated[
        str | None, Query(min_length=1, max_length=64, description="As sent with the hold.")
    ] = None,
) -> Listing[HoldOut]:
    """All holds of the tenant, whatever their status."""
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
    response_description="The hold in its current state.",
    responses=documented("not_found"),
)
async def read_hold(holds: HoldsService, caller: CurrentPrincipal, hold_id: str) -> Response:
    """`status` and `expires_in_seconds` are current."""
    return _answer(Answered(await holds.get(caller.tenant_id, _known_form(hold_id))), 200)


@router.post(
    "/{hold_id}/extend",
    response_model=HoldOut,
    summary="Extend a live hold, once",
    response_description="The hold with its new `expires_at`.",
    responses=documented("not_found", "hold_not_active", "extension_limit_reached", "hold_expired"),
)
async def extend_hold(
    holds: HoldsService, caller: CurrentPrincipal, hold_id: str, key: OptionalIdempotency
) -> Response:
    """Add ten minutes to `expires_at`. Possible once, while the hold is live."""
    answer = await run_detached(holds.extend(caller.tenant_id, _known_form(hold_id), key))
    return _answer(answer, 200)


@router.delete(
    "/{hold_id}",
    status_code=204,
    response_class=Response,  # no content, so no content type
    summary="Release a hold",
    response_description="The seats are free.",
    responses=documented("not_found", "hold_not_active"),
)
async def release_hold(holds: HoldsService, caller: CurrentPrincipal, hold_id: str) -> None:
    """Free the seats now. Can be repeated, also after the hold has expired."""
    await run_detached(holds.release(caller.tenant_id, _known_form(hold_id)))


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
    answered: Answered[Hold], status: int, headers: Mapping[str, str] | None = None
) -> Response:
    headers = dict(headers or {})
    if answered.replayed:
        headers["Idempotent-Replayed"] = "true"
    return Response(hold_json(answered.value), status, headers, media_type="application/json")
