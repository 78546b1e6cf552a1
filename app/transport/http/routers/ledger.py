"""`GET /v1/flights/{id}/ledger`: what happened to every seat of one flight."""

from typing import Annotated, Protocol

from fastapi import Depends

from app.errors import NotFound
from app.identity.principal import Scope
from app.ids import FlightId, is_flight_id
from app.ledger import model
from app.transport.http.pipeline.dependencies import CurrentPrincipal, Paging, SignedCursors
from app.transport.http.pipeline.guarded_route import ScopedRouter
from app.transport.http.pipeline.services import Service
from app.transport.http.problems.responses import documented
from app.transport.http.wire.ledger import Ledger, ledger_out


class Ledgers(Protocol):
    """The method of `app.ledger.service.LedgerService` that this endpoint calls."""

    async def page(
        self, flight_id: FlightId, after: model.Position | None, limit: int
    ) -> model.LedgerPage: ...


LEDGER = Service[Ledgers]("ledger")
LedgerService = Annotated[Ledgers, Depends(LEDGER)]

router = ScopedRouter(scope=Scope.INVENTORY_ADMIN, prefix="/v1/flights", tags=["flights"])


@router.get(
    "/{flight_id}/ledger",
    summary="Follow every seat of a flight",
    response_description="One page of entries, and the totals of all.",
    responses=documented("not_found"),
)
async def read_ledger(
    ledger: LedgerService,
    cursors: SignedCursors,
    caller: CurrentPrincipal,
    paging: Paging,
    flight_id: str,
) -> Ledger:
    """Holds of all tenants, bookings, cancellations and changed limits, oldest first. A hold that ended
    without a booking is deleted after 30 days.
    """
    if not is_flight_id(flight_id):
        raise NotFound("No flight has this id.")
    query = ["ledger", caller.tenant_id, flight_id]
    after = None if paging.after is None else _position(cursors.open(query, paging.after))
    page = await ledger.page(FlightId(flight_id), after, paging.limit)
    more = None if page.after is None else cursors.seal(query, page.after)
    return ledger_out(page, more)


def _position(sealed: list[str | int]) -> model.Position:
    at_us, about, step, place = sealed
    return int(at_us), str(about), int(step), int(place)
