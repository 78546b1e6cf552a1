"""Examples of one day for every route, all about one flight, so that they can be tried in order.

Rendered by the routes' own functions from domain values, and therefore in the shapes of real answers.
On the sample network the requests succeed as they stand: search, then hold; a booking needs the hold's
id, which the documentation page fills in.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from pydantic import BaseModel

from app.booking import events
from app.booking.model import Booking, BookingStatus, Contact, Passenger, Payment
from app.hold.model import Hold, HoldStatus
from app.ids import BookingId, FlightId, HoldId, TenantId
from app.inventory.itinerary import PassengerCounts, Segment, price
from app.inventory.model import Cabin, CabinCounts, CabinName, Flight
from app.ledger.model import CabinTotals, ClassTotals, EntryKind, LedgerEntry, LedgerPage
from app.outbox.model import Aggregate, Event
from app.search.calendar import days_of_month
from app.search.model import CalendarDay, Offer, OfferedSegment, Route, Slice
from app.transport.http.availability import availability_out
from app.transport.http.offers import offer_out
from app.transport.http.routers.booking import booking_out
from app.transport.http.routers.events import EventListing, EventMeta, event_out
from app.transport.http.routers.flights import flight_out
from app.transport.http.routers.hold import hold_out
from app.transport.http.routers.ledger import ledger_out
from app.transport.http.routers.search import calendar_out, route_out
from app.transport.http.schemas import listing

DAYS_AHEAD = timedelta(days=14)

_TENANT = TenantId("demo")
_HOLD_ID = HoldId("hold_5a47ufr7dwcpjtksgnmxthdpjm")
_BOOKING_ID = BookingId("bkg_3yyn5gcuwvkutmkwn5pevx3ite")
_OFFER_ID = "off_eyJmIjpbWyJmbHRfTEE4MDciLCJOIl1dfQ.c2lnbmVk"
_CURSOR = "EnYgVFQdVJv7pOXlWzE3XQ.c2lnbmVk"
_LOCATOR = "K7PX2M"
_REFERENCE = "order-4711"
_HOLD_TTL = timedelta(minutes=10)
_OFFER_TTL = timedelta(minutes=20)
_ONE_ADULT = PassengerCounts(1)
_VIOLETA = Passenger("ADT", "Violeta", "Parra", date(1990, 10, 4))
_CONTACT = Contact("violeta@example.com", "+56912345678")
_ASKED_AT = time(14, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Example:
    """Of one operation. `bodies` by their titles, the one to try first; `answers` by status."""

    parameters: Mapping[str, str] = field(default_factory=dict)
    bodies: Mapping[str, Any] = field(default_factory=dict)
    answers: Mapping[str, Any] = field(default_factory=dict)


Examples = Mapping[str, Example]
"""By operation id."""


def examples_of(flight: Flight, day: date) -> Examples:
    """What a caller sees on that day who sells the flight. The flight has an economy cabin."""
    asked_at = datetime.combine(day, _ASKED_AT)
    return {
        **_health(),
        **_search(flight, asked_at),
        **_hold(flight, asked_at),
        **_booking(flight, asked_at),
        **_flights(flight, asked_at),
        "read_ledger": Example(
            parameters={"flight_id": flight.flight_id},
            answers={"200": _json(ledger_out(_ledger(flight, asked_at), None))},
        ),
    }


def _health() -> Examples:
    ready = {"status": "ok", "checks": {"database": "ok", "redis": "ok"}}
    away = {**ready["checks"], "redis": "The hold store is being rebuilt."}  # type: ignore[dict-item]
    return {
        "livez": Example(answers={"200": {"status": "ok"}}),
        "readyz": Example(answers={"200": ready, "503": {"status": "unavailable", "checks": away}}),
    }


def _search(flight: Flight, asked_at: datetime) -> Examples:
    cheapest = _segment(flight, cheapest=True)
    offer = Offer(
        _OFFER_ID,
        asked_at + _OFFER_TTL,
        _ONE_ADULT,
        (Slice((OfferedSegment(cheapest, 9),)),),
        price([cheapest], _ONE_ADULT),
    )
    days = [asked_at.date(), asked_at.date() + timedelta(days=60)]
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
            answers={"200": _json(calendar_out(_month(flight)))},
        ),
        "read_offer": Example(
            parameters={"offer_id": _OFFER_ID}, answers={"200": _json(offer_out(offer))}
        ),
        "list_routes": Example(
            answers={"200": _listed(route_out(Route(flight.origin, flight.destination, *days)))}
        ),
        "read_availability": Example(
            parameters={"flight_id": flight.flight_id},
            answers={
                "200": _json(availability_out(flight, _counts(flight), asked_at, exact=False))
            },
        ),
    }


def _month(flight: Flight) -> list[CalendarDay]:
    """On other days nothing is open."""
    day = flight.departing_at.local.date()
    lowest = _segment(flight, cheapest=True).fare
    return [
        CalendarDay(one, lowest if one == day else None)
        for one in days_of_month(day.replace(day=1))
    ]


def _hold(flight: Flight, asked_at: datetime) -> Examples:
    segment = _segment(flight)
    hold = Hold(
        hold_id=_HOLD_ID,
        status=HoldStatus.ACTIVE,
        segments=(segment,),
        passengers=_ONE_ADULT,
        price=price([segment], _ONE_ADULT),
        expires_at=asked_at + _HOLD_TTL,
        expires_in_seconds=int(_HOLD_TTL.total_seconds()),
        price_guaranteed_until=asked_at + _HOLD_TTL,
        extensions_remaining=1,
        client_reference=None,
        booking_id=None,
        created_at=asked_at,
    )
    extended = replace(
        hold,
        expires_at=asked_at + 2 * _HOLD_TTL,
        expires_in_seconds=int(2 * _HOLD_TTL.total_seconds()),
        extensions_remaining=0,
    )
    by_segments = {
        "segments": [{"flight_id": flight.flight_id, "booking_class": segment.booking_class}],
        "passengers": {"ADT": 1, "CHD": 0, "INF": 0},
    }
    one = {"hold_id": _HOLD_ID}
    return {
        "place_hold": Example(
            parameters={"Idempotency-Key": "hold-4711"},
            bodies={
                "By flight and class": by_segments,
                "By an offer's id": {"offer_id": _OFFER_ID, "client_reference": _REFERENCE},
            },
            answers={"201": _json(hold_out(hold))},
        ),
        "list_holds": Example(answers={"200": _listed(hold_out(hold))}),
        "read_hold": Example(parameters=one, answers={"200": _json(hold_out(hold))}),
        "extend_hold": Example(parameters=one, answers={"200": _json(hold_out(extended))}),
        "release_hold": Example(parameters=one),
    }


def _booking(flight: Flight, asked_at: datetime) -> Examples:
    segment = _segment(flight)
    total = price([segment], _ONE_ADULT)
    booking = Booking(
        booking_id=_BOOKING_ID,
        record_locator=_LOCATOR,
        status=BookingStatus.CONFIRMED,
        hold_id=_HOLD_ID,
        segments=(segment,),
        passengers=(_VIOLETA,),
        contact=_CONTACT,
        payment=Payment("pay-8c1f", total.total),
        price=total,
        client_reference=None,
        created_at=asked_at + timedelta(minutes=2),
    )
    cancelled = replace(
        booking,
        status=BookingStatus.CANCELLED,
        cancelled_at=asked_at + timedelta(minutes=30),
        version=2,
    )
    told = _json(booking_out(booking))
    wanted = {name: told[name] for name in ("hold_id", "passengers", "contact", "payment")}
    one = {"booking_id": _BOOKING_ID}
    return {
        "create_booking": Example(
            parameters={"Idempotency-Key": "book-4711"},
            bodies={"One adult": wanted},
            answers={"201": told},
        ),
        "find_booking": Example(
            parameters={"record_locator": _LOCATOR, "family_name": _VIOLETA.family_name},
            answers={"200": told},
        ),
        "read_booking": Example(parameters=one, answers={"200": told}),
        "cancel_booking": Example(parameters=one, answers={"200": _json(booking_out(cancelled))}),
        "list_events": Example(answers={"200": _event(booking)}),
    }


def _event(booking: Booking) -> dict[str, Any]:
    fact = events.confirmed(_TENANT, booking)
    event = Event(
        fact.event_id,
        fact.type,
        fact.version,
        fact.occurred_at,
        fact.tenant_id,
        Aggregate(fact.aggregate_type, fact.aggregate_id),
        fact.sequence,
        fact.data,
    )
    meta = EventMeta(after=_CURSOR, has_more=False)
    return _json(EventListing(data=[event_out(event)], meta=meta))


def _flights(flight: Flight, asked_at: datetime) -> Examples:
    """About a flight of the caller's own, beside the one that is sold in the other examples."""
    own = replace(
        flight,
        flight_id=FlightId(
            f"flt_LA9001-{flight.departing_at.local:%Y%m%d}-{flight.origin}-{flight.destination}"
        ),
        flight_number="9001",
    )
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
            answers={"200": _json(availability_out(own, _counts(own), asked_at, exact=True))},
        ),
    }


def _ledger(flight: Flight, asked_at: datetime) -> LedgerPage:
    """One adult's hold in the highest class, and then the booking."""
    cabin = _economy(flight)
    highest = cabin.booking_classes[0]

    def entry(minutes: int, step: int, kind: EntryKind, booking: BookingId | None) -> LedgerEntry:
        at = asked_at + timedelta(minutes=minutes)
        return LedgerEntry(
            position=(minutes, _HOLD_ID, step, 1),
            at=at,
            kind=kind,
            cabin=cabin.cabin,
            booking_class=highest.booking_class,
            seats=_ONE_ADULT.seats,
            limit=None,
            tenant_id=_TENANT,
            hold_id=_HOLD_ID,
            booking_id=booking,
            epoch=1,
            sold=int(booking is not None),
        )

    entries = [
        entry(0, 1, EntryKind.HELD, None),
        entry(2, 3, EntryKind.CONFIRMED, _BOOKING_ID),
    ]
    classes = tuple(
        ClassTotals(one.booking_class, one.limit, 0, int(one is highest))
        for one in cabin.booking_classes
    )
    totals = CabinTotals(cabin.cabin, highest.limit, 1, 0, 1, 0, classes)
    return LedgerPage(flight.flight_id, entries, [totals], None)


def _segment(flight: Flight, *, cheapest: bool = False) -> Segment:
    """In the highest class, which is open as long as any is; or in the one that search would offer."""
    cabin = _economy(flight)
    return Segment.of(flight, cabin, len(cabin.booking_classes) if cheapest else 1)


def _economy(flight: Flight) -> Cabin:
    (cabin,) = (one for one in flight.cabins if one.cabin is CabinName.ECONOMY)
    return cabin


def _counts(flight: Flight) -> dict[CabinName, CabinCounts]:
    """A quiet day: two seats sold and one held in the highest class of each cabin."""
    return {
        cabin.cabin: CabinCounts(
            tuple(one.limit for one in cabin.booking_classes),
            (2, *(0 for _ in cabin.booking_classes[1:])),
            (1, *(0 for _ in cabin.booking_classes[1:])),
        )
        for cabin in flight.cabins
    }


def _listed(*entries: BaseModel) -> dict[str, Any]:
    return _json(listing(entries, None))


def _json(model: BaseModel) -> dict[str, Any]:
    return model.model_dump(mode="json")
