"""The values of the examples: one flight, one hold and one booking, on one day.

One adult is offered a seat, holds it, extends the hold, books and cancels, so that the examples follow from
each other.
"""

from dataclasses import replace
from datetime import date, datetime, timedelta

from app.booking import events
from app.booking.model import Booking, BookingStatus, Contact, Passenger, Payment
from app.hold.model import Hold, HoldStatus
from app.ids import BookingId, FlightId, TenantId
from app.inventory.itinerary import PassengerCounts, Segment, price
from app.inventory.model import Cabin, CabinCounts, CabinName, Flight
from app.ledger.model import CabinTotals, ClassTotals, EntryKind, LedgerEntry, LedgerPage
from app.outbox.model import Aggregate, Event
from app.search.calendar import days_of_month
from app.search.model import CalendarDay, Offer, OfferedSegment, Route, Slice
from app.transport.http.problems.responses import BOOKING_ID, HOLD_ID

_TENANT = TenantId("demo")
_OFFER_ID = "off_eyJmIjpbWyJmbHRfTEE4MDciLCJOIl1dfQ.c2lnbmVk"
_HOLD_TTL = timedelta(minutes=10)
_OFFER_TTL = timedelta(minutes=20)
_ONE_ADULT = PassengerCounts(1)
_VIOLETA = Passenger("ADT", "Violeta", "Parra", date(1990, 10, 4))
_CONTACT = Contact("violeta@example.com", "+56912345678")


def offer_of(flight: Flight, asked_at: datetime) -> Offer:
    cheapest = _segment(flight, cheapest=True)
    return Offer(
        _OFFER_ID,
        asked_at + _OFFER_TTL,
        _ONE_ADULT,
        (Slice((OfferedSegment(cheapest, 9),)),),
        price([cheapest], _ONE_ADULT),
    )


def route_of(flight: Flight, asked_at: datetime) -> Route:
    today = asked_at.date()
    return Route(flight.origin, flight.destination, today, today + timedelta(days=60))


def month_of(flight: Flight) -> list[CalendarDay]:
    """The calendar of the flight's month, with no other flight."""
    day = flight.departing_at.local.date()
    lowest = _segment(flight, cheapest=True).fare
    return [
        CalendarDay(one, lowest if one == day else None)
        for one in days_of_month(day.replace(day=1))
    ]


def counts_of(flight: Flight) -> dict[CabinName, CabinCounts]:
    """Two seats sold and one held, in the highest class of each cabin."""
    return {
        cabin.cabin: CabinCounts(
            tuple(one.limit for one in cabin.booking_classes),
            (2, *(0 for _ in cabin.booking_classes[1:])),
            (1, *(0 for _ in cabin.booking_classes[1:])),
        )
        for cabin in flight.cabins
    }


def hold_of(flight: Flight, asked_at: datetime) -> Hold:
    segment = _segment(flight)
    return Hold(
        hold_id=HOLD_ID,
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


def extended(hold: Hold) -> Hold:
    return replace(
        hold,
        expires_at=hold.expires_at + _HOLD_TTL,
        expires_in_seconds=int(2 * _HOLD_TTL.total_seconds()),
        extensions_remaining=0,
    )


def booking_of(hold: Hold) -> Booking:
    return Booking(
        booking_id=BOOKING_ID,
        record_locator="K7PX2M",
        status=BookingStatus.CONFIRMED,
        hold_id=hold.hold_id,
        segments=hold.segments,
        passengers=(_VIOLETA,),
        contact=_CONTACT,
        payment=Payment("pay-8c1f", hold.price.total),
        price=hold.price,
        client_reference=None,
        created_at=hold.created_at + timedelta(minutes=2),
    )


def cancelled(booking: Booking) -> Booking:
    return replace(
        booking,
        status=BookingStatus.CANCELLED,
        cancelled_at=booking.created_at + timedelta(minutes=28),
        version=2,
    )


def event_of(booking: Booking) -> Event:
    fact = events.confirmed(_TENANT, booking)
    return Event(
        fact.event_id,
        fact.type,
        fact.version,
        fact.occurred_at,
        fact.tenant_id,
        Aggregate(fact.aggregate_type, fact.aggregate_id),
        fact.sequence,
        fact.data,
    )


def own_flight_of(flight: Flight) -> Flight:
    """Another flight, for the caller to put; the other examples sell the first."""
    return replace(
        flight,
        flight_id=FlightId(
            f"flt_LA9001-{flight.departing_at.local:%Y%m%d}-{flight.origin}-{flight.destination}"
        ),
        flight_number="9001",
    )


def ledger_of(flight: Flight, asked_at: datetime) -> LedgerPage:
    """A hold for one adult in the highest class, and its booking."""
    cabin = _economy(flight)
    highest = cabin.booking_classes[0]

    def entry(minutes: int, step: int, kind: EntryKind, booking: BookingId | None) -> LedgerEntry:
        at = asked_at + timedelta(minutes=minutes)
        return LedgerEntry(
            position=(minutes, HOLD_ID, step, 1),
            at=at,
            kind=kind,
            cabin=cabin.cabin,
            booking_class=highest.booking_class,
            seats=_ONE_ADULT.seats,
            limit=None,
            tenant_id=_TENANT,
            hold_id=HOLD_ID,
            booking_id=booking,
            epoch=1,
            sold=int(booking is not None),
        )

    entries = [
        entry(0, 1, EntryKind.HELD, None),
        entry(2, 3, EntryKind.CONFIRMED, BOOKING_ID),
    ]
    classes = tuple(
        ClassTotals(one.booking_class, one.limit, 0, int(one is highest))
        for one in cabin.booking_classes
    )
    totals = CabinTotals(cabin.cabin, highest.limit, 1, 0, 1, 0, classes)
    return LedgerPage(flight.flight_id, entries, [totals], None)


def _segment(flight: Flight, *, cheapest: bool = False) -> Segment:
    """A segment in the highest class, or in the cheapest, which search offers."""
    cabin = _economy(flight)
    return Segment.of(flight, cabin, len(cabin.booking_classes) if cheapest else 1)


def _economy(flight: Flight) -> Cabin:
    (cabin,) = (one for one in flight.cabins if one.cabin is CabinName.ECONOMY)
    return cabin
