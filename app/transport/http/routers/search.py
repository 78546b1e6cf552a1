"""What can be sold: `/v1/offers`, `/v1/calendar`, `/v1/routes` and the availability of a flight."""

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Protocol

from fastapi import Depends, Query, Request, Response
from pydantic import Field

from app.concurrency.single_flight import SingleFlight
from app.errors import NotFound
from app.identity.principal import Scope
from app.ids import FlightId, TenantId, is_flight_id
from app.inventory.itinerary import SEATS_MAX, PassengerCounts
from app.inventory.model import CabinName
from app.search import model
from app.search.model import SearchQuery, Sort
from app.transport.http.pipeline.dependencies import (
    DIGITS,
    CurrentPrincipal,
    Page,
    Paging,
    SignedCursors,
)
from app.transport.http.pipeline.guarded_route import ScopedRouter
from app.transport.http.pipeline.services import Service
from app.transport.http.problems.responses import documented
from app.transport.http.wire import etags
from app.transport.http.wire.availability import Availability, availability_out
from app.transport.http.wire.calendar import Calendar, Route, calendar_out, route_out
from app.transport.http.wire.cursors import Cursors, Position
from app.transport.http.wire.offers import (
    Offer,
    OffersPage,
    SupersedingOffer,
    offer_out,
    offers_page,
)
from app.transport.http.wire.schemas import (
    Day,
    Listing,
    Month,
    Station,
    listing,
)

_MEANINGS = {
    Sort.PRICE: "cheapest first",
    Sort.DEPARTURE: "earliest first",
    Sort.DURATION: "shortest first",
}
_SORTS = ", ".join(f"`{sort.value}`: {meaning}" for sort, meaning in _MEANINGS.items()) + "."


class Search(Protocol):
    """The methods of `app.search.service.SearchService` that these endpoints call."""

    async def offers(
        self,
        tenant_id: TenantId,
        query: SearchQuery,
        after: tuple[str | int, ...] | None,
        limit: int,
    ) -> tuple[list[model.Offer], tuple[str | int, ...] | None]: ...

    async def offer(self, tenant_id: TenantId, offer_id: str) -> model.Offer: ...

    async def calendar(
        self, origin: str, destination: str, month: date
    ) -> list[model.CalendarDay]: ...

    async def routes(
        self, after: tuple[str, str] | None, limit: int
    ) -> tuple[list[model.Route], tuple[str, str] | None]: ...

    async def availability(self, flight_id: FlightId) -> model.FlightAvailability: ...


class OfferPages:
    """Pages of offers as JSON. Concurrent searches for the same page share one execution."""

    def __init__(self, search: Search, cursors: Cursors) -> None:
        self._search = search
        self._cursors = cursors
        self._shared: SingleFlight[_Key, OffersPage] = SingleFlight()

    async def get(self, tenant_id: TenantId, query: SearchQuery, paging: Page) -> OffersPage:
        return await self._shared.join_next(
            (tenant_id, query, paging.after, paging.limit),
            lambda: self._make(tenant_id, query, paging),
        )

    async def _make(self, tenant_id: TenantId, query: SearchQuery, paging: Page) -> OffersPage:
        key = _key_of(tenant_id, query)
        after = None if paging.after is None else tuple(self._cursors.open(key, paging.after))
        offers, position = await self._search.offers(tenant_id, query, after, paging.limit)
        return offers_page(key, offers, _sealed(self._cursors, key, position))


_Key = tuple[TenantId, SearchQuery, str | None, int]
"""Tenant, query, cursor and page size."""

SEARCH = Service[Search]("search")
OFFER_PAGES = Service[OfferPages]("offer pages")
SearchService = Annotated[Search, Depends(SEARCH)]
PagesOfOffers = Annotated[OfferPages, Depends(OFFER_PAGES)]

router = ScopedRouter(scope=Scope.OFFERS_READ, prefix="/v1", tags=["search"])


@router.get(
    "/offers",
    summary="Search offers: itineraries that can be held now",
    response_description="One page of offers.",
    response_model=Listing[Offer],
    responses=etags.cacheable_responses(),
)
async def list_offers(
    pages: PagesOfOffers,
    request: Request,
    caller: CurrentPrincipal,
    paging: Paging,
    origin: Station,
    destination: Station,
    departure_date: Annotated[Day, Query(description="A local date of the origin.")],
    return_date: Annotated[
        Day | None,
        Query(
            description="A local date of the destination. Offers then have two slices, out and "
            "back, from the 40 cheapest slices of each direction."
        ),
    ] = None,
    adults: Annotated[int, Field(ge=1, le=SEATS_MAX), DIGITS, Query()] = 1,
    children: Annotated[
        int,
        Field(ge=0, le=SEATS_MAX - 1),
        DIGITS,
        Query(description=f"2 to 11 years old; adults and children are {SEATS_MAX} at most."),
    ] = 0,
    infants: Annotated[
        int,
        Field(ge=0, le=SEATS_MAX),
        DIGITS,
        Query(description="Under 2 years, on a lap: no seat, and at most one for each adult."),
    ] = 0,
    cabin: CabinName = CabinName.ECONOMY,
    max_connections: Annotated[
        int,
        Field(ge=0, le=1),
        DIGITS,
        Query(description="0: direct flights only. 1: also two flights that connect."),
    ] = 1,
    sort: Annotated[Sort, Query(description=_SORTS)] = Sort.PRICE,
    if_none_match: etags.IfNoneMatch = None,
) -> Response:
    """Itineraries that can be held now, each in the cheapest class with enough seats. With
    `return_date`, out and back at one price, in one hold. The list is empty for a market that is not
    served, and for a past date.
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
    page = await pages.get(caller.tenant_id, query, paging)
    return etags.conditional_response(request, page.body, etags.PRIVATE_OFFERS, page.tag)


@router.get(
    "/calendar",
    summary="See which days of a month are open, and the lowest prices",
    response_description="Every day of the month.",
    response_model=Calendar,
    responses=etags.cacheable_responses(),
)
async def read_calendar(
    search: SearchService,
    request: Request,
    origin: Station,
    destination: Station,
    month: Annotated[Month, Query(description="A month of local dates of the origin.")],
    if_none_match: etags.IfNoneMatch = None,
) -> Response:
    """The cheapest offer of each day for one adult, one way, in economy, with at most one connection.
    Past days are closed.
    """
    days = await search.calendar(origin, destination, month)
    return etags.conditional_response(request, calendar_out(days), etags.PUBLIC_CALENDAR)


@router.get(
    "/offers/{offer_id}",
    summary="Re-check and re-price an offer",
    response_description="The offer, or the one that supersedes it.",
    responses=documented("not_found", "sold_out", "not_for_sale", "offer_expired"),
)
async def read_offer(
    search: SearchService, caller: CurrentPrincipal, offer_id: str
) -> SupersedingOffer | Offer:
    """The offer with the seats that are left. If its price has changed: a new offer, with another id
    and `supersedes`. Without seats: 409 `sold_out`. After 20 minutes: 410.
    """
    return offer_out(await search.offer(caller.tenant_id, offer_id))


@router.get(
    "/routes",
    summary="List the routes served",
    response_description="One page of routes.",
    response_model=Listing[Route],
    responses=etags.cacheable_responses(),
)
async def list_routes(
    search: SearchService,
    cursors: SignedCursors,
    request: Request,
    caller: CurrentPrincipal,
    paging: Paging,
    if_none_match: etags.IfNoneMatch = None,
) -> Response:
    """Markets with a future direct flight, by origin and destination."""
    query = ["routes", caller.tenant_id]
    after = None
    if paging.after is not None:
        origin, destination = cursors.open(query, paging.after)
        after = (str(origin), str(destination))
    routes, position = await search.routes(after, paging.limit)
    page = listing(map(route_out, routes), _sealed(cursors, query, position))
    return etags.conditional_response(request, page, etags.PUBLIC_ROUTES)


@router.get(
    "/flights/{flight_id}/availability",
    summary="Read a flight's live availability, class by class",
    response_description="The current availability.",
    responses=documented("not_found"),
)
async def read_availability(
    search: SearchService, caller: CurrentPrincipal, flight_id: str
) -> Availability:
    """Live: at most a second behind an expiry. With inventory:admin also the exact `limit`, `sold` and
    `held`.
    """
    if not is_flight_id(flight_id):
        raise NotFound("There is no such flight.")
    found = await search.availability(FlightId(flight_id))
    exact = Scope.INVENTORY_ADMIN in caller.scopes
    return availability_out(found.flight, found.counts, found.as_of, exact=exact)


def _key_of(tenant_id: TenantId, query: SearchQuery) -> Sequence[object]:
    """Everything that determines the list, for its cursors."""
    passengers = query.passengers
    return [
        "offers",
        tenant_id,
        query.origin,
        query.destination,
        query.departure_date,
        passengers.adults,
        passengers.children,
        passengers.infants,
        query.cabin,
        query.max_connections,
        query.sort,
        query.return_date,
    ]


def _sealed(cursors: Cursors, query: Sequence[object], position: Position | None) -> str | None:
    return None if position is None else cursors.seal(query, position)
