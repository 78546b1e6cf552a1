"""`/v1/bookings`: a held itinerary made durable, read again by its id or by locator and name, cancelled."""

from typing import Annotated, Any, Protocol

from fastapi import Depends, Query, Response

from app.booking.model import Booking, BookingRequest
from app.concurrency.detached import run_detached
from app.errors import NotFound
from app.idempotency.model import Answered, IdempotencyKey
from app.identity.principal import Scope
from app.ids import BookingId, TenantId, is_booking_id
from app.transport.http.pipeline.dependencies import (
    CurrentPrincipal,
    Idempotency,
    OptionalIdempotency,
)
from app.transport.http.pipeline.guarded_route import ScopedRouter
from app.transport.http.pipeline.services import Service
from app.transport.http.problems.responses import documented
from app.transport.http.wire.bookings import BookingIn, BookingOut, booking_out

_LOOKUP_MAX = 64
_REPLAYED: dict[str, Any] = {
    "Idempotent-Replayed": {
        "description": "`true` where this is the first answer again.",
        "schema": {"type": "string", "enum": ["true"]},
    }
}
_LOCATION: dict[str, Any] = {
    "Location": {"description": "The booking's own path.", "schema": {"type": "string"}}
}


class Bookings(Protocol):
    """Of `app.booking.service.BookingService`, what these endpoints call."""

    async def confirm(
        self, tenant_id: TenantId, request: BookingRequest, key: IdempotencyKey
    ) -> Answered[Booking]: ...

    async def get(self, tenant_id: TenantId, booking_id: BookingId) -> Booking: ...

    async def find(self, tenant_id: TenantId, record_locator: str, family_name: str) -> Booking: ...

    async def cancel(
        self, tenant_id: TenantId, booking_id: BookingId, key: IdempotencyKey | None
    ) -> Answered[Booking]: ...


BOOKINGS = Service[Bookings]("bookings")
BookingsService = Annotated[Bookings, Depends(BOOKINGS)]

router = ScopedRouter(scope=Scope.BOOKINGS_WRITE, prefix="/v1/bookings", tags=["bookings"])


@router.post(
    "",
    status_code=201,
    summary="Book a hold",
    responses={
        201: {"description": "Booked.", "headers": _LOCATION | _REPLAYED},
        **documented(
            "not_found",
            "hold_not_active",
            "duplicate_booking",
            "not_for_sale",
            "sold_out",
            "hold_expired",
        ),
    },
)
async def create_booking(
    bookings: BookingsService,
    wanted: BookingIn,
    caller: CurrentPrincipal,
    key: Idempotency,
    response: Response,
) -> BookingOut:
    """Every segment of the hold, or nothing. `hold_id` is the hold's, `payment` equals its total price
    (the documentation page fills both in once you hold), with a passenger for each that it counts.
    Once begun it is finished, whether or not the caller waits: after a lost answer send the same
    request with the same Idempotency-Key.
    """
    answered = await run_detached(bookings.confirm(caller.tenant_id, wanted.value(), key))
    response.headers["Location"] = f"/v1/bookings/{answered.value.booking_id}"
    return _answer(answered, response)


@router.get(
    "",
    summary="Find a booking by record locator and family name",
    response_description="The one booking.",
    responses=documented("not_found"),
)
async def find_booking(
    bookings: BookingsService,
    caller: CurrentPrincipal,
    record_locator: Annotated[
        str,
        Query(min_length=1, max_length=_LOOKUP_MAX, examples=["K7PX2M"]),
    ],
    family_name: Annotated[
        str,
        Query(
            min_length=1,
            max_length=_LOOKUP_MAX,
            description="Of any passenger; compared without case and accents.",
        ),
    ],
) -> BookingOut:
    """Both are needed, and the answer is one booking; a wrong name and an unknown locator are
    told apart by nothing.
    """
    return booking_out(await bookings.find(caller.tenant_id, record_locator, family_name))


@router.get(
    "/{booking_id}",
    summary="Read a booking",
    response_description="The booking.",
    responses=documented("not_found"),
)
async def read_booking(
    bookings: BookingsService, booking_id: str, caller: CurrentPrincipal
) -> BookingOut:
    """As it was sold, with `cancelled_at` where it was given back."""
    return booking_out(await bookings.get(caller.tenant_id, _known_form(booking_id)))


@router.post(
    "/{booking_id}/cancel",
    summary="Cancel a booking",
    responses={
        200: {"description": "Cancelled, now or before.", "headers": _REPLAYED},
        **documented("not_found"),
    },
)
async def cancel_booking(
    bookings: BookingsService,
    booking_id: str,
    caller: CurrentPrincipal,
    key: OptionalIdempotency,
    response: Response,
) -> BookingOut:
    """The seats go back; no refund is computed. Repeatable: nothing happens the second time."""
    wanted = _known_form(booking_id)
    return _answer(await run_detached(bookings.cancel(caller.tenant_id, wanted, key)), response)


def _answer(answered: Answered[Booking], response: Response) -> BookingOut:
    if answered.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return booking_out(answered.value)


def _known_form(booking_id: str) -> BookingId:
    if not is_booking_id(booking_id):
        raise NotFound("There is no such booking.")
    return BookingId(booking_id)
