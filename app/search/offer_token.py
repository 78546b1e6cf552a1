"""Offers without storage: an offer's id is the offer itself, signed and bound to its tenant.

An id says which seats at which times and price until when; it hides nothing and cannot be made up, changed or
handed to another tenant. It is deterministic, has a version, and is never longer than `OFFER_ID_MAX`.
"""

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final, get_args

from app.errors import ValidationFailed, Violation
from app.hold.model import ClassChoice, OfferTerms, instant_of, microseconds
from app.ids import FlightId, TenantId
from app.inventory.itinerary import PassengerCounts, PassengerPrice, PassengerType, Price
from app.money import Money
from app.signing import Signer

OFFER_ID_MAX: Final = 2048  # characters; six segments with the longest flight ids take about half
OFFER_LASTS: Final = timedelta(minutes=20)
_PREFIX = "off_"
_VERSION = 2
_DIGEST_BYTES = 12
_TENANTS_MAX = 1024
_KEPT_MAX = 16_384  # texts of choices, and of what the offers of one page begin with
_JSON = json.JSONEncoder(separators=(",", ":"), check_circular=False)
_TYPES: tuple[PassengerType, ...] = get_args(PassengerType)


class OfferTokens:
    def __init__(self, signing_keys: Sequence[str]) -> None:
        self._signer = Signer(signing_keys, purpose="offer")

    def seal(self, tenant_id: TenantId, terms: OfferTerms) -> str:
        """The offer's id. `terms.expires_at` is in whole milliseconds, as `expiry_of` makes it."""
        offer_id = _PREFIX + self._signer.sign(_digest(tenant_id) + _text(terms).encode())
        assert len(offer_id) <= OFFER_ID_MAX, "an offer has at most six segments"
        return offer_id

    def read(self, tenant_id: TenantId, offer_id: str) -> OfferTerms | None:
        """What was sealed for this tenant; None for any other text."""
        if not offer_id.startswith(_PREFIX) or len(offer_id) > OFFER_ID_MAX:
            return None
        payload = self._signer.verify(offer_id.removeprefix(_PREFIX))
        if payload is None or payload[:_DIGEST_BYTES] != _digest(tenant_id):
            return None
        version, *packed = json.loads(payload[_DIGEST_BYTES:])
        return _unpacked(packed) if version == _VERSION else None

    def open_offer(self, tenant_id: TenantId, offer_id: str) -> OfferTerms:
        """For an id inside a body: raises ValidationFailed at /offer_id. An offer may have expired."""
        terms = self.read(tenant_id, offer_id)
        if terms is None:
            raise ValidationFailed(
                "The offer is not known.",
                violations=[
                    Violation(
                        "pointer",
                        "/offer_id",
                        "unknown_offer",
                        "Take the id of an offer from a search.",
                    )
                ],
            )
        return terms


def expiry_of(now: datetime) -> datetime:
    """When an offer made now ends, in the milliseconds that an answer shows."""
    return instant_of(microseconds(now + OFFER_LASTS) // 1000 * 1000)


def _text(terms: OfferTerms) -> str:
    """JSON without blanks. A page has dozens of offers, so what they share is written once."""
    each = ",".join([str(line.each.minor) for line in terms.price.passengers])
    chosen = ",".join(map(_choice_text, terms.segments))
    head = _head_text(terms.expires_at, terms.passengers, terms.price.total.currency)
    return f"{head},[{each}],[{chosen}],{terms.times},{terms.outbound_segments}]"


@lru_cache(maxsize=_KEPT_MAX)
def _head_text(expires_at: datetime, passengers: PassengerCounts, currency: str) -> str:
    counts = [passengers.adults, passengers.children, passengers.infants]
    head = [_VERSION, microseconds(expires_at) // 1000, counts, currency]
    return _JSON.encode(head).removesuffix("]")


@lru_cache(maxsize=_KEPT_MAX)
def _choice_text(choice: ClassChoice) -> str:
    return _JSON.encode([choice.flight_id, choice.booking_class])


def _unpacked(packed: list[Any]) -> OfferTerms:
    expires_ms, counts, currency, each, segments, times, outbound_segments = packed
    travelling = [(type_, count) for type_, count in zip(_TYPES, counts, strict=True) if count]
    lines = tuple(
        PassengerPrice(type_, count, Money(minor, currency))
        for (type_, count), minor in zip(travelling, each, strict=True)
    )
    total = sum((line.each * line.count for line in lines), start=Money(0, currency))
    return OfferTerms(
        tuple(ClassChoice(FlightId(flight_id), letter) for flight_id, letter in segments),
        PassengerCounts(*counts),
        Price(total, lines),
        instant_of(expires_ms * 1000),
        times,
        outbound_segments,
    )


@lru_cache(maxsize=_TENANTS_MAX)
def _digest(tenant_id: TenantId) -> bytes:
    return hashlib.sha256(tenant_id.encode()).digest()[:_DIGEST_BYTES]
