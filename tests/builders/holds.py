"""Hold requests for tests."""

import itertools

from app.hold.model import ClassChoice, HoldRequest, OfferTerms
from app.idempotency.model import IdempotencyKey
from app.ids import FlightId, TenantId
from app.inventory.itinerary import PassengerCounts

DEMO = TenantId("demo")
RIVAL = TenantId("rival")
_numbers = itertools.count(1)


def request(
    *choices: tuple[str, str],
    adults: int = 1,
    children: int = 0,
    infants: int = 0,
    client_reference: str | None = None,
) -> HoldRequest:
    """Segments as (flight id, booking class)."""
    segments = tuple(ClassChoice(FlightId(flight_id), letter) for flight_id, letter in choices)
    return HoldRequest(None, segments, PassengerCounts(adults, children, infants), client_reference)


def key(name: str | None = None, *, body: str = "a") -> IdempotencyKey:
    """A new key each time, unless it is named."""
    return IdempotencyKey(name or f"key-{next(_numbers)}", body * 64)


def no_offers(tenant_id: TenantId, text: str) -> OfferTerms:
    raise AssertionError("this test holds by segments")
