"""Search, re-check an offer, list routes, show what is open: what a client reads before it holds.

Flights and fares come from Postgres, seats from the hold store, all of an answer's in one script call.
Nothing here promises a seat: an offer is a price with a signature, and the hold decides.
"""

from collections.abc import Mapping

from app.clock import Clock
from app.errors import HoldStoreUnavailable, NotFound, ValidationFailed, Violation
from app.hold.errors import NotForSale, OfferExpired, SoldOut
from app.hold.live import LiveInventory
from app.hold.model import ClassChoice, Full, OfferTerms
from app.ids import FlightId, TenantId
from app.inventory import store as inventory_store
from app.inventory.itinerary import SEATS_MAX, PassengerCounts, Price, Segment, price
from app.inventory.model import SEATS_SHOWN_MAX, CabinCounts, CabinName, Flight
from app.search import store
from app.search.model import FlightAvailability, Offer, OfferedSegment, Route, SearchQuery, Slice
from app.search.offer_token import OfferTokens, expiry_of
from app.search.paging import Position, Quote, page_of
from app.storage.database import Database

Counts = Mapping[FlightId, Mapping[CabinName, CabinCounts]]


class SearchService:
    def __init__(
        self, database: Database, live: LiveInventory, tokens: OfferTokens, clock: Clock
    ) -> None:
        self._database = database
        self._live = live
        self._tokens = tokens
        self._clock = clock

    async def offers(
        self, tenant_id: TenantId, query: SearchQuery, after: Position | None, limit: int
    ) -> tuple[list[Offer], Position | None]:
        """One page of what can be held now, each flight in its cheapest class that has the seats."""
        _check(query)
        async with self._database.reading() as session:
            day = await store.read_day(
                session, query.origin, query.destination, query.departure_date, query.cabin
            )
        now = self._clock()
        sellable = [flight for flight in day if flight.departing_at.utc > now]
        if not sellable:
            return [], None
        counts = await self._live.availability(sellable)
        quotes = [
            quote
            for flight in sellable
            if (quote := _cheapest(flight, counts, query.passengers)) is not None
        ]
        told_apart = [flight.flight_id for flight in day]
        page, position = page_of(quotes, told_apart, query.sort, after, limit)
        return [self._offer(tenant_id, quote, query.passengers) for quote in page], position

    async def offer(self, tenant_id: TenantId, offer_id: str) -> Offer:
        """The offer as it stands now, or one that supersedes it where its price no longer does.

        Raises NotFound, OfferExpired, NotForSale, SoldOut.
        """
        terms = self._tokens.read(tenant_id, offer_id)
        if terms is None:
            raise NotFound("There is no such offer.")
        now = self._clock()
        if terms.expires_at <= now:
            raise OfferExpired
        wanted = [choice.flight_id for choice in terms.segments]
        async with self._database.reading() as session:
            flights = await inventory_store.read_flights(session, wanted)
        for flight in flights.values():
            if flight.departing_at.utc <= now:
                raise NotForSale(f"Flight {flight.carrier}{flight.flight_number} has departed.")
        counts = await self._live.availability(flights.values())
        offered = [_offered(choice, flights, counts) for choice in terms.segments]
        open_seats = tuple(0 if one is None else one.seats_left for one in offered)
        found = tuple(one for one in offered if one is not None)
        if len(found) < len(offered) or min(open_seats) < terms.passengers.seats:
            full = Full(open_seats, None)
            raise SoldOut.of(terms.segments, terms.passengers.seats, full, by_offer=True)
        total = price([one.segment for one in found], terms.passengers)
        return self._rechecked(tenant_id, offer_id, terms, (Slice(found),), total)

    async def routes(
        self, after: tuple[str, str] | None, limit: int
    ) -> tuple[list[Route], tuple[str, str] | None]:
        """Pairs with a departure to come, and where to go on."""
        async with self._database.reading() as session:
            found = await store.read_routes(session, self._clock(), after or ("", ""), limit + 1)
        page = found[:limit]
        has_more = len(found) > limit
        return page, (page[-1].origin, page[-1].destination) if has_more else None

    async def availability(self, flight_id: FlightId) -> FlightAvailability:
        """The live numbers of every cabin; what the hold store does not know yet nobody holds."""
        as_of = self._clock()
        async with self._database.snapshot() as session:
            flights = await inventory_store.read_flights(session, [flight_id])
            rows = await inventory_store.read_rows(session, [flight_id])
        if flight_id not in flights:
            raise NotFound("There is no such flight.")
        flight = flights[flight_id]
        live = (await self._live.availability([flight])).get(flight_id, {})
        unheld = {
            row.cabin: CabinCounts(row.limits, row.sold, (0,) * len(row.sold)) for row in rows
        }
        return FlightAvailability(flight, {**unheld, **live}, as_of)

    def _offer(self, tenant_id: TenantId, quote: Quote, passengers: PassengerCounts) -> Offer:
        slices = (Slice((OfferedSegment(quote.segment, quote.seats_left),)),)
        return self._new_offer(tenant_id, slices, passengers, quote.price, supersedes=None)

    def _rechecked(
        self,
        tenant_id: TenantId,
        offer_id: str,
        terms: OfferTerms,
        slices: tuple[Slice, ...],
        total: Price,
    ) -> Offer:
        if total == terms.price:
            return Offer(offer_id, terms.expires_at, terms.passengers, slices, total)
        return self._new_offer(tenant_id, slices, terms.passengers, total, supersedes=offer_id)

    def _new_offer(
        self,
        tenant_id: TenantId,
        slices: tuple[Slice, ...],
        passengers: PassengerCounts,
        total: Price,
        *,
        supersedes: str | None,
    ) -> Offer:
        expires_at = expiry_of(self._clock())
        choices = tuple(
            ClassChoice(one.segment.flight_id, one.segment.booking_class)
            for slice_ in slices
            for one in slice_.segments
        )
        offer_id = self._tokens.seal(tenant_id, OfferTerms(choices, passengers, total, expires_at))
        return Offer(offer_id, expires_at, passengers, slices, total, supersedes)


def _check(query: SearchQuery) -> None:
    wrong: list[Violation] = []
    passengers = query.passengers
    if query.origin == query.destination:
        wrong.append(
            Violation("parameter", "destination", "invalid", "This has to differ from `origin`.")
        )
    if passengers.seats > SEATS_MAX:
        detail = f"Adults and children are {SEATS_MAX} together at most."
        wrong.append(Violation("parameter", "children", "out_of_range", detail))
    if passengers.infants > passengers.adults:
        detail = "An infant travels on the lap of an adult, one each."
        wrong.append(Violation("parameter", "infants", "out_of_range", detail))
    if wrong:
        raise ValidationFailed("This cannot be searched for; see errors.", violations=wrong)


def _cheapest(flight: Flight, counts: Counts, passengers: PassengerCounts) -> Quote | None:
    """Fares only fall and what is open only shrinks from class to class, so the last one that has the
    seats is the cheapest. A cabin whose layout the hold store does not have is not in `counts`.
    """
    (cabin,) = flight.cabins
    of_cabin = counts[flight.flight_id].get(cabin.cabin)
    opened = () if of_cabin is None else of_cabin.open
    position = sum(open_seats >= passengers.seats for open_seats in opened)
    if position == 0:
        return None
    segment = Segment.of(flight, cabin, position)
    return Quote(segment, min(opened[position - 1], SEATS_SHOWN_MAX), price([segment], passengers))


def _offered(
    choice: ClassChoice, flights: Mapping[FlightId, Flight], counts: Counts
) -> OfferedSegment | None:
    """The choice as it is sold now; None where the flight no longer has the class."""
    flight = flights.get(choice.flight_id)
    found = None if flight is None else flight.find(choice.booking_class)
    if flight is None or found is None:
        return None
    cabin, position = found
    of_cabin = counts[flight.flight_id].get(cabin.cabin)
    if of_cabin is None:  # its layout is on its way to the hold store
        raise HoldStoreUnavailable
    seats_left = min(of_cabin.open[position - 1], SEATS_SHOWN_MAX)
    return OfferedSegment(Segment.of(flight, cabin, position), seats_left)
