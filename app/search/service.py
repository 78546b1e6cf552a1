"""Search, re-check an offer, list routes, show what is open: what a client reads before it holds.

Flights and fares come from Postgres, seats from the hold store, all of an answer's in one script call.
Nothing here promises a seat: an offer is a price with a signature, and the hold decides.
"""

from itertools import pairwise

from app.clock import Clock
from app.errors import NotFound, ValidationFailed, Violation
from app.hold.errors import NotForSale, OfferExpired, SoldOut
from app.hold.live import LiveInventory
from app.hold.model import ClassChoice, Full, OfferTerms
from app.ids import FlightId, TenantId
from app.inventory import store as inventory_store
from app.inventory.itinerary import SEATS_MAX, PassengerCounts, Price, price
from app.inventory.model import CabinCounts, Flight
from app.search import store
from app.search.connections import connects, sensible, undominated
from app.search.model import FlightAvailability, Offer, Route, SearchQuery, Slice
from app.search.offer_token import OfferTokens, expiry_of
from app.search.paging import Position, page_of
from app.search.quoting import cheapest, offered, quote
from app.storage.database import Database


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
            day = sensible(await store.read_paths(session, query))
        now = self._clock()
        sellable = [path for path in day if path[0].departing_at.utc > now]
        if not sellable:
            return [], None
        flights = {flight.flight_id: flight for path in sellable for flight in path}
        counts = await self._live.availability(flights.values())
        passengers = query.passengers
        open_ = {
            flight_id: cheapest(flight, counts, passengers) for flight_id, flight in flights.items()
        }
        quoted = (quote(path, open_, passengers) for path in sellable)
        quotes = undominated(one for one in quoted if one is not None)
        told_apart = [tuple(flight.flight_id for flight in path) for path in day]
        page, position = page_of(quotes, told_apart, query.sort, after, limit)
        return [
            self._new_offer(tenant_id, (one.slice,), passengers, one.price, supersedes=None)
            for one in page
        ], position

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
        flights = await self._flights_of(terms)
        for flight in flights.values():
            if flight.departing_at.utc <= now:
                raise NotForSale(f"Flight {flight.carrier}{flight.flight_number} has departed.")
        counts = await self._live.availability(flights.values())
        found = [offered(choice, flights, counts) for choice in terms.segments]
        open_ = tuple(one for one in found if one is not None)
        if (
            len({one.segment.fare.currency for one in open_}) > 1
        ):  # it cannot be sold as one any more
            currency = terms.price.total.currency
            found = [
                one if one and one.segment.fare.currency == currency else None for one in found
            ]
        open_seats = tuple(0 if one is None else one.seats_left for one in found)
        if min(open_seats) < terms.passengers.seats:
            full = Full(open_seats, None)
            raise SoldOut.of(terms.segments, terms.passengers.seats, full, by_offer=True)
        total = price([one.segment for one in open_], terms.passengers)
        return self._rechecked(tenant_id, offer_id, terms, (Slice(open_),), total)

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

    async def _flights_of(self, terms: OfferTerms) -> dict[FlightId, Flight]:
        """The flights as they are now. Raises OfferExpired where they no longer connect."""
        wanted = [choice.flight_id for choice in terms.segments]
        minutes: dict[str, int] = {}
        async with self._database.reading() as session:
            flights = await inventory_store.read_flights(session, wanted)
            path = [flights[flight_id] for flight_id in wanted if flight_id in flights]
            if len(path) > 1:
                stations = [flight.origin for flight in path[1:]]
                minutes = await store.read_connection_times(session, stations)
        if not all(connects(first, second, minutes) for first, second in pairwise(path)):
            raise OfferExpired
        return flights

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
