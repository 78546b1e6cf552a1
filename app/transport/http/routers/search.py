"""What can be sold: `/v1/offers`, `/v1/calendar`, `/v1/routes` and the availability of a flight."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import Query, Request, Response
from pydantic import Field

from app.errors import NotFound
from app.identity.principal import Principal, Scope
from app.ids import FlightId, is_flight_id
from app.inventory.itinerary import SEATS_MAX, PassengerCounts
from app.inventory.model import SEATS_SHOWN_MAX, CabinName
from app.search import model
from app.search.model import SearchQuery, Sort
from app.search.service import SearchService
from app.transport.http import validators
from app.transport.http.availability import Availability, availability_out
from app.transport.http.dependencies import DIGITS, CurrentPrincipal, Paging
from app.transport.http.guard import ScopedRouter
from app.transport.http.paging import Cursors, Position
from app.transport.http.refusals import documented
from app.transport.http.schemas import (
    Counts,
    Day,
    Instant,
    Listing,
    Money,
    Month,
    Output,
    Price,
    Segment,
    Station,
    counts_out,
    duration_text,
    listing,
    money_out,
    price_out,
    segment_members,
)

_TAG_LASTS_SECONDS = 300
_MEANINGS = {
    Sort.PRICE: "from the cheapest",
    Sort.DEPARTURE: "from the earliest",
    Sort.DURATION: "from the shortest",
}


class OfferedSegment(Segment):
    seats_left: int = Field(
        ge=1, le=SEATS_SHOWN_MAX, description="In this class; 9 stands for nine or more."
    )


class Slice(Output):
    origin: str
    destination: str
    duration: str = Field(examples=["PT4H5M"])
    segments: list[OfferedSegment]


class Offer(Output):
    """Can be held at this price until `expires_at`, as long as there are seats."""

    id: str = Field(description="Carries the offer itself; up to 2,048 characters.")
    expires_at: Instant
    passengers: Counts
    slices: list[Slice]
    price: Price


class SupersedingOffer(Offer):
    """The same seats at their price of now."""

    supersedes: str = Field(description="The id that was asked for; its price no longer stands.")


class CalendarDay(Output):
    date: Day
    open: bool = Field(description="Whether one adult can hold anything in economy on that date.")
    lowest_price: Money | None = Field(description="Of one adult; null where nothing is open.")


class Calendar(Output):
    """Every day of the month, by the calendar of the origin."""

    data: list[CalendarDay]


class Route(Output):
    origin: str = Field(examples=["SCL"])
    destination: str = Field(examples=["LIM"])
    first_departure_date: Day = Field(description="Of those to come, by the origin's calendar.")
    last_departure_date: Day


def search_router(search: SearchService, cursors: Cursors) -> ScopedRouter:
    router = ScopedRouter(scope=Scope.OFFERS_READ, prefix="/v1", tags=["search"])

    @router.get(
        "/offers",
        summary="Search offers: itineraries that can be held now",
        response_description="One page of offers.",
        response_model=Listing[Offer],
        responses=validators.kept(),
    )
    async def list_offers(
        request: Request,
        caller: CurrentPrincipal,
        paging: Paging,
        origin: Station,
        destination: Station,
        departure_date: Annotated[Day, Query(description="By the calendar of the origin.")],
        return_date: Annotated[
            Day | None,
            Query(
                description="By the calendar of the destination: offers then have two slices, there "
                "and back, of the 40 cheapest ways of each direction."
            ),
        ] = None,
        adults: Annotated[int, Field(ge=1, le=SEATS_MAX), DIGITS, Query()] = 1,
        children: Annotated[
            int,
            Field(ge=0, le=SEATS_MAX - 1),
            DIGITS,
            Query(description=f"2 to 11 years old; with the adults {SEATS_MAX} at most."),
        ] = 0,
        infants: Annotated[
            int,
            Field(ge=0, le=SEATS_MAX),
            DIGITS,
            Query(description="Under 2 years, on a lap: no seat, one adult each."),
        ] = 0,
        cabin: CabinName = CabinName.ECONOMY,
        max_connections: Annotated[
            int,
            Field(ge=0, le=1),
            DIGITS,
            Query(description="0: single flights only. 1: also two flights that connect."),
        ] = 1,
        sort: Annotated[Sort, Query(description=_sorts())] = Sort.PRICE,
        if_none_match: validators.IfNoneMatch = None,
    ) -> Response:
        """Itineraries that can be held now, each in the cheapest class that has the seats. With
        `return_date` there and back, priced and held together. A market that is not served and a date
        gone by have none: the list is empty.
        """
        query = SearchQuery(
            origin,
            destination,
            departure_date,
            PassengerCounts(adults, children, infants),
            cabin,
            sort,
            max_connections,
            return_date,
        )
        asked = _asked(caller, query, max_connections)
        after = None if paging.after is None else tuple(cursors.open(asked, paging.after))
        offers, position = await search.offers(caller.tenant_id, query, after, paging.limit)
        more = _sealed(cursors, asked, position)
        told = listing(map(offer_out, offers), more)
        tag = _tag(asked, offers, more)
        return validators.answer(request, told, validators.PRIVATE_OFFERS, tag)

    @router.get(
        "/calendar",
        summary="See which days of a month are open, and from what price",
        response_description="Every day of the month.",
        response_model=Calendar,
        responses=validators.kept(),
    )
    async def read_calendar(
        request: Request,
        origin: Station,
        destination: Station,
        month: Annotated[Month, Query(description="By the calendar of the origin.")],
        if_none_match: validators.IfNoneMatch = None,
    ) -> Response:
        """For one adult, one way, in economy, with one connection at most: what a search of that day
        would offer first. Days gone by are closed.
        """
        days = await search.calendar(origin, destination, month)
        return validators.answer(request, calendar_out(days), validators.PUBLIC_CALENDAR)

    @router.get(
        "/offers/{offer_id}",
        summary="Re-check and re-price an offer",
        response_description="The offer, or the one that supersedes it.",
        responses=documented("not_found", "sold_out", "not_for_sale", "offer_expired"),
    )
    async def read_offer(caller: CurrentPrincipal, offer_id: str) -> SupersedingOffer | Offer:
        """The offer with the seats left now. Where its price no longer stands: another offer, with an
        id of its own and `supersedes`. No seats: 409 `sold_out`. After 20 minutes: 410.
        """
        return offer_out(await search.offer(caller.tenant_id, offer_id))

    @router.get(
        "/routes",
        summary="List the routes served",
        response_description="One page of routes.",
        response_model=Listing[Route],
        responses=validators.kept(),
    )
    async def list_routes(
        request: Request,
        caller: CurrentPrincipal,
        paging: Paging,
        if_none_match: validators.IfNoneMatch = None,
    ) -> Response:
        """Pairs that one flight serves, with a departure to come; by origin and destination."""
        asked = ["routes", caller.tenant_id]
        after = None
        if paging.after is not None:
            origin, destination = cursors.open(asked, paging.after)
            after = (str(origin), str(destination))
        routes, position = await search.routes(after, paging.limit)
        told = listing(map(route_out, routes), _sealed(cursors, asked, position))
        return validators.answer(request, told, validators.PUBLIC_ROUTES)

    @router.get(
        "/flights/{flight_id}/availability",
        summary="Read a flight's live availability, class by class",
        response_description="What is open now.",
        responses=documented("not_found"),
    )
    async def read_availability(caller: CurrentPrincipal, flight_id: str) -> Availability:
        """Live, at most a second behind a hold that runs out. With inventory:admin also the exact
        `limit`, `sold` and `held`.
        """
        if not is_flight_id(flight_id):
            raise NotFound("There is no such flight.")
        found = await search.availability(FlightId(flight_id))
        exact = Scope.INVENTORY_ADMIN in caller.scopes
        return availability_out(found.flight, found.counts, found.as_of, exact=exact)

    return router


def _sorts() -> str:
    return ", ".join(f"`{sort.value}`: {meaning}" for sort, meaning in _MEANINGS.items()) + "."


def _asked(caller: Principal, query: SearchQuery, max_connections: int) -> Sequence[object]:
    """Everything that chose the list, for its cursors."""
    passengers = query.passengers
    return [
        "offers",
        caller.tenant_id,
        query.origin,
        query.destination,
        query.departure_date,
        passengers.adults,
        passengers.children,
        passengers.infants,
        query.cabin,
        max_connections,
        query.sort,
        query.return_date,
    ]


def _tag(asked: Sequence[object], offers: Sequence[model.Offer], after: str | None) -> str:
    """Of what is offered, not of the ids, which are others each time. Every few minutes it is another
    one, so that an offer which was kept can be held for most of its time.
    """
    age = int(offers[0].expires_at.timestamp()) // _TAG_LASTS_SECONDS if offers else 0
    told = [*map(str, asked), str(age), after or ""]
    for one in offers:
        told.append(f"{one.price.total.minor} {one.price.total.currency}")
        told += (_told(seat) for way in one.slices for seat in way.segments)
    return validators.digest("\n".join(told).encode())


def _told(seat: model.OfferedSegment) -> str:
    one = seat.segment
    departing, arriving = one.departing_at.utc.timestamp(), one.arriving_at.utc.timestamp()
    terms = f"{one.flight_id} {departing} {arriving} {one.booking_class} {one.fare.minor}"
    return f"{terms} {seat.seats_left}"


def _sealed(cursors: Cursors, asked: Sequence[object], position: Position | None) -> str | None:
    return None if position is None else cursors.seal(asked, position)


def offer_out(offer: model.Offer) -> SupersedingOffer | Offer:
    plain = Offer(
        id=offer.offer_id,
        expires_at=offer.expires_at,
        passengers=counts_out(offer.passengers),
        slices=[_slice_out(one) for one in offer.slices],
        price=price_out(offer.price),
    )
    if offer.supersedes is None:
        return plain
    return SupersedingOffer(**dict(plain), supersedes=offer.supersedes)


def _slice_out(value: model.Slice) -> Slice:
    return Slice(
        origin=value.first.origin,
        destination=value.last.destination,
        duration=duration_text(value.duration),
        segments=[
            OfferedSegment(**segment_members(one.segment), seats_left=one.seats_left)
            for one in value.segments
        ],
    )


def calendar_out(days: Sequence[model.CalendarDay]) -> Calendar:
    return Calendar(
        data=[
            CalendarDay(
                date=one.day,
                open=one.lowest_price is not None,
                lowest_price=None if one.lowest_price is None else money_out(one.lowest_price),
            )
            for one in days
        ]
    )


def route_out(route: model.Route) -> Route:
    return Route(
        origin=route.origin,
        destination=route.destination,
        first_departure_date=route.first_departure_date,
        last_departure_date=route.last_departure_date,
    )
