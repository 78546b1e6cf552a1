"""Opaque, prefixed identifiers: `hold_`, `bkg_`, `evt_`, `flt_`, `off_`.

All except a flight's (chosen by the caller) and an offer's (which contains the offer) are a prefix and 26
characters of base 32: 128 bits, derived from what they identify, so that a retry or a re-run of a transaction
gives the same id.
"""

import base64
import hashlib
import re
from typing import NewType

FlightId = NewType("FlightId", str)
HoldId = NewType("HoldId", str)
BookingId = NewType("BookingId", str)
EventId = NewType("EventId", str)
TenantId = NewType("TenantId", str)

FLIGHT_ID_PATTERN = r"^flt_[A-Za-z0-9_-]{1,60}$"
_FLIGHT_ID = re.compile(FLIGHT_ID_PATTERN)
_DERIVED = re.compile(r"^(hold|bkg|evt)_[a-z2-7]{26}$")


def hold_id(tenant: TenantId, key: str, attempt: int) -> HoldId:
    """The hold of one idempotency key; `attempt` counts from 1 and increases only after an aborted one."""
    return HoldId("hold_" + _digest("hold", tenant, key, str(attempt)))


def first_id(tenant: TenantId, key: str) -> HoldId:
    """Identifies the key itself, whichever attempt was answered."""
    return hold_id(tenant, key, 1)


def booking_id(hold: HoldId) -> BookingId:
    """The one booking a hold can become."""
    return BookingId("bkg_" + _digest("booking", hold))


def event_id(aggregate_id: str, sequence: int) -> EventId:
    return EventId("evt_" + _digest("event", aggregate_id, str(sequence)))


def is_flight_id(text: str) -> bool:
    return _FLIGHT_ID.fullmatch(text) is not None


def is_hold_id(text: str) -> bool:
    return text.startswith("hold_") and _DERIVED.fullmatch(text) is not None


def is_booking_id(text: str) -> bool:
    return text.startswith("bkg_") and _DERIVED.fullmatch(text) is not None


def _digest(*parts: str) -> str:
    hashed = hashlib.sha256()
    for part in parts:
        raw = part.encode()
        hashed.update(
            len(raw).to_bytes(4, "big") + raw
        )  # lengths, so that no two lists give the same bytes
    return base64.b32encode(hashed.digest()[:16]).decode().rstrip("=").lower()
