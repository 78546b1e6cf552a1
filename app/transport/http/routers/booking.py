"""`/v1/bookings`: book a hold, read a booking by id or by locator and name, cancel it."""

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
        "description": "`true` if this is the first answer again.",
        "schema": {"type": "string", "enum": ["true"]},
    }
}
_LOCATION: dict[str, Any] = {
    "Location": {"description": "The path of the booking.", "schema": {"type": "string"}}
}


class Bookings(Protocol):
    """The methods of `app.booking.service.BookingService` that these endpoints call."""

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
    """Book every segment of the hold. `payment` must equal the total price of the hold, and `passengers`
    must match its counts (the documentation page fills in `hold_id` and `payment` after a hold). A
    booking that has begun is completed even if the client disconnects: after a lost answer, retry with
    the same Idempotency-Key.
    """
    answered = await run_detached(bookings.confirm(caller.tenant_id, wanted.value(), key))
    response.headers["Location"] = f"/v1/bookings/{answered.value.booking_id}"
    return _answer(answered, response)


@router.get(
    "",
    summary="Find a booking by record locator and family name",
    response_description="The booking.",
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
            description="Of any passenger; case and accents are ignored.",
        ),
    ],
) -> BookingOut:
    """Both parameters are required. A wrong name and an unknown locator have the same answer."""
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
    """The booking as it was sold; `cancelled_at` is set if it was cancelled."""
    return booking_out(await bookings.get(caller.tenant_id, _known_form(booking_id)))


@router.post(
    "/{booking_id}/cancel",
    summary="Cancel a booking",
    responses={
        200: {"description": "Cancelled, by this request or an earlier one.", "headers": _REPLAYED},
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
    """Return the seats to sale. No refund is computed. Can be repeated without effect."""
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
