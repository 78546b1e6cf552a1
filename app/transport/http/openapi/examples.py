"""Examples for every route on one day, all about one flight, so that they can be tried in order.

They are rendered from `example_values` by the functions that render real answers. On the sample network the
requests succeed unchanged: search, then hold; the documentation page fills in the id of the hold to book.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from pydantic import BaseModel

from app.inventory.model import Flight
from app.transport.http.openapi.example_values import (
    booking_of,
    cancelled,
    counts_of,
    event_of,
    extended,
    hold_of,
    ledger_of,
    month_of,
    offer_of,
    own_flight_of,
    route_of,
)
from app.transport.http.wire.availability import availability_out
from app.transport.http.wire.bookings import booking_out
from app.transport.http.wire.calendar import calendar_out, route_out
from app.transport.http.wire.events import EventListing, EventMeta, event_out
from app.transport.http.wire.flights import flight_out
from app.transport.http.wire.holds import hold_out
from app.transport.http.wire.ledger import ledger_out
from app.transport.http.wire.offers import offer_out
from app.transport.http.wire.schemas import listing

DAYS_AHEAD = timedelta(days=14)

_CURSOR = "EnYgVFQdVJv7pOXlWzE3XQ.c2lnbmVk"
_ASKED_AT = time(14, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Example:
    """For one operation. `bodies` by title, the first to be tried first; `answers` by status."""

    parameters: Mapping[str, str] = field(default_factory=dict)
    bodies: Mapping[str, Any] = field(default_factory=dict)
    answers: Mapping[str, Any] = field(default_factory=dict)


Examples = Mapping[str, Example]
"""By operation id."""


def examples_of(flight: Flight, day: date) -> Examples:
    """The examples on that day, for a flight with an economy cabin."""
    asked_at = datetime.combine(day, _ASKED_AT)
    return {
        **_health(),
        **_search(flight, asked_at),
        **_hold(flight, asked_at),
        **_booking(flight, asked_at),
        **_flights(flight, asked_at),
        "read_ledger": Example(
            parameters={"flight_id": flight.flight_id},
            answers={"200": _json(ledger_out(ledger_of(flight, asked_at), None))},
        ),
    }


def _health() -> Examples:
    ready = {"status": "ok", "checks": {"database": "ok", "redis": "ok"}}
    unavailable = {**ready["checks"], "redis": "The hold store is being rebuilt."}  # type: ignore[dict-item]
    return {
        "livez": Example(answers={"200": {"status": "ok"}}),
        "readyz": Example(
            answers={"200": ready, "503": {"status": "unavailable", "checks": unavailable}}
        ),
    }


def _search(flight: Flight, asked_at: datetime) -> Examples:
    offer = offer_of(flight, asked_at)
    return {
        "list_offers": Example(
            parameters={
                "origin": flight.origin,
                "destination": flight.destination,
                "departure_date": flight.departing_at.local.date().isoformat(),
            },
            answers={"200": _listed(offer_out(offer))},
        ),
        "read_calendar": Example(
            parameters={
                "origin": flight.origin,
                "destination": flight.destination,
                "month": f"{flight.departing_at.local:%Y-%m}",
            },
            answers={"200": _json(calendar_out(month_of(flight)))},
        ),
        "read_offer": Example(
            parameters={"offer_id": offer.offer_id}, answers={"200": _json(offer_out(offer))}
        ),
        "list_routes": Example(answers={"200": _listed(route_out(route_of(flight, asked_at)))}),
        "read_availability": Example(
            parameters={"flight_id": flight.flight_id},
            answers={
                "200": _json(availability_out(flight, counts_of(flight), asked_at, exact=False))
            },
        ),
    }


def _hold(flight: Flight, asked_at: datetime) -> Examples:
    hold = hold_of(flight, asked_at)
    (segment,) = hold.segments
    by_segments = {
        "segments": [{"flight_id": flight.flight_id, "booking_class": segment.booking_class}],
        "passengers": {"ADT": 1, "CHD": 0, "INF": 0},
    }
    one = {"hold_id": hold.hold_id}
    return {
        "place_hold": Example(
            parameters={"Idempotency-Key": "hold-4711"},
            bodies={
                "By flight and class": by_segments,
                "By an offer's id": {
                    "offer_id": offer_of(flight, asked_at).offer_id,
                    "client_reference": "order-4711",
                },
            },
            answers={"201": _json(hold_out(hold))},
        ),
        "list_holds": Example(answers={"200": _listed(hold_out(hold))}),
        "read_hold": Example(parameters=one, answers={"200": _json(hold_out(hold))}),
        "extend_hold": Example(parameters=one, answers={"200": _json(hold_out(extended(hold)))}),
        "release_hold": Example(parameters=one),
    }


def _booking(flight: Flight, asked_at: datetime) -> Examples:
    booking = booking_of(hold_of(flight, asked_at))
    answer = _json(booking_out(booking))
    wanted = {name: answer[name] for name in ("hold_id", "passengers", "contact", "payment")}
    one = {"booking_id": booking.booking_id}
    events = EventListing(
        data=[event_out(event_of(booking))], meta=EventMeta(after=_CURSOR, has_more=False)
    )
    return {
        "create_booking": Example(
            parameters={"Idempotency-Key": "book-4711"},
            bodies={"One adult": wanted},
            answers={"201": answer},
        ),
        "find_booking": Example(
            parameters={
                "record_locator": booking.record_locator,
                "family_name": booking.passengers[0].family_name,
            },
            answers={"200": answer},
        ),
        "read_booking": Example(parameters=one, answers={"200": answer}),
        "cancel_booking": Example(
            parameters=one, answers={"200": _json(booking_out(cancelled(booking)))}
        ),
        "list_events": Example(answers={"200": _json(events)}),
    }


def _flights(flight: Flight, asked_at: datetime) -> Examples:
    own = own_flight_of(flight)
    put = _json(flight_out(own))
    body = {name: value for name, value in put.items() if name not in ("id", "version")}
    for when in ("departing_at", "arriving_at"):
        body[when] = {name: put[when][name] for name in ("local", "time_zone")}
    cabin = own.cabins[-1]
    fewer = cabin.booking_classes[-1]
    change = {"booking_class": fewer.booking_class, "limit": fewer.limit // 2}
    one = {"flight_id": own.flight_id}
    return {
        "put_flight": Example(
            parameters=one,
            bodies={"A flight of one day": body},
            answers={"200": {**put, "version": 2}, "201": put},
        ),
        "read_flight": Example(parameters=one, answers={"200": put}),
        "change_inventory": Example(
            parameters=one,
            bodies={
                "Half as many seats in the lowest class": {
                    "cabins": [{"cabin": cabin.cabin.value, "booking_classes": [change]}]
                }
            },
            answers={"200": _json(availability_out(own, counts_of(own), asked_at, exact=True))},
        ),
    }


def _listed(*entries: BaseModel) -> dict[str, Any]:
    return _json(listing(entries, None))


def _json(model: BaseModel) -> dict[str, Any]:
    return model.model_dump(mode="json")
