"""Search, re-check an offer, list routes, show what is open: what a client reads before it holds.

Flights and fares come from Postgres, seats from the hold store, all of an answer's in one script call.
Nothing here promises a seat: an offer is a price with a signature, and the hold decides.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from itertools import islice, pairwise, product
from typing import Final, TypeVar

from app.clock import Clock
from app.concurrency.background import Background
from app.errors import NotFound, ValidationFailed, Violation
from app.hold.availability import LiveAvailability
from app.hold.errors import NotForSale, OfferExpired, SoldOut
from app.hold.model import ClassChoice, Full, OfferTerms
from app.ids import FlightId, TenantId
from app.inventory import store as inventory_store
from app.inventory.itinerary import SEATS_MAX, PassengerCounts, Price, price, schedule_digest
from app.inventory.model import CabinCounts, CabinName, Flight
from app.search import store
from app.search.calendar import days_of_month, lowest_price
from app.search.connections import connects, undominated
from app.search.itineraries import Itineraries
from app.search.model import (
    CalendarDay,
    FlightAvailability,
    Offer,
    Path,
    Quote,
    Route,
    SearchQuery,
    Slice,
)
from app.search.offer_token import OfferTokens, expiry_of
from app.search.paging import Position, page_of
from app.search.quoting import Counts, cheapest, offered, quote
from app.search.round_trips import allows_return, combined, worth_combining
from app.storage.database import Database

READINGS_MAX: Final = 2  # of days, where flights were changed since they were kept
FLIGHTS_A_CALL: Final = 2000  # more than two days of any market have; a month is asked for in parts
DAYS_AT_A_TIME: Final = 4

T = TypeVar("T")


class SearchService:
    def __init__(
        self,
        database: Database,
        live: LiveAvailability,
        tokens: OfferTokens,
        clock: Clock,
        background: Background | None = None,
    ) -> None:
        self._database = database
        self._live = live
        self._tokens = tokens
        self._clock = clock
        self._itineraries = Itineraries(database, background or Background())

    def schedule_changed(self, flight: Flight) -> None:
        """Called when this process changes a flight, so that its searches find it at once."""
        self._itineraries.changed(flight)

    async def offers(
        self, tenant_id: TenantId, query: SearchQuery, after: Position | None, limit: int
    ) -> tuple[list[Offer], Position | None]:
        """One page of what can be held now, each flight in its cheapest class that has the seats."""
        _check(query)
        ways = [query] if query.return_date is None else [query, query.back]
        days, counts = await self._counted(ways)
        if len(ways) > 1:
            days = [worth_combining(day) for day in days]
        quotes, *back = (self._quotes(day, counts, query.passengers) for day in days)
        if back:
            quotes = combined(quotes, back[0], query.passengers)
        itineraries = (
            tuple(flight.flight_id for path in paths for flight in path) for paths in product(*days)
        )
        page, position = page_of(quotes, itineraries, query.sort, after, limit)
        expires_at = expiry_of(self._clock())
        return [
            self._new_offer(tenant_id, one.slices, query.passengers, one.price, expires_at)
            for one in page
        ], position

    async def calendar(self, origin: str, destination: str, month: date) -> list[CalendarDay]:
        """Each day of the month that begins on that date: what one adult can hold, and from what price."""
        first = SearchQuery(origin, destination, month, PassengerCounts(1))
        _check(first)
        dates = days_of_month(month)
        earliest = (self._clock() - store.LOCAL_BEHIND_UTC).date()
        ways = [replace(first, departure_date=day) for day in dates if day >= earliest]
        days, counts = await self._counted(ways)
        lowest = {
            way.departure_date: lowest_price(self._quotes(day, counts, first.passengers))
            for way, day in zip(ways, days, strict=True)
        }
        return [CalendarDay(day, lowest.get(day)) for day in dates]

    async def _counted(self, ways: Sequence[SearchQuery]) -> tuple[list[Sequence[Path]], Counts]:
        """The ways of each day, and the live numbers of all their flights that are still to leave."""
        days: list[Sequence[Path]] = []
        counts: dict[FlightId, Mapping[CabinName, CabinCounts]] = {}
        for _ in range(READINGS_MAX):
            days = await self._days(ways)
            now = self._clock()
            flights = {
                flight.flight_id: flight
                for day in days
                for path in day
                if path[0].departing_at.utc > now
                for flight in path
            }
            counts = {}
            for some in batched(flights.values(), FLIGHTS_A_CALL):
                counts |= await self._live.availability(some)
            outdated = [
                self._itineraries.outdated(way, day, counts)
                for way, day in zip(ways, days, strict=True)
            ]
            if not any(outdated):
                break
        return days, counts

    async def _days(self, ways: Sequence[SearchQuery]) -> list[Sequence[Path]]:
        """A few at a time: a calendar must not take all connections to the database."""
        days: list[Sequence[Path]] = []
        for some in batched(ways, DAYS_AT_A_TIME):
            days += await asyncio.gather(*map(self._itineraries.of_day, some))
        return days

    def _quotes(
        self, day: Sequence[Path], counts: Counts, passengers: PassengerCounts
    ) -> list[Quote]:
        now = self._clock()
        sellable = [
            path
            for path in day
            if path[0].departing_at.utc > now and all(one.flight_id in counts for one in path)
        ]
        flights = {flight.flight_id: flight for path in sellable for flight in path}
        open_ = {
            flight_id: cheapest(flight, counts, passengers) for flight_id, flight in flights.items()
        }
        quoted = (quote(path, open_, passengers) for path in sellable)
        return undominated(one for one in quoted if one is not None)

    async def offer(self, tenant_id: TenantId, offer_id: str) -> Offer:
        """The offer as it stands now, or one that supersedes it where price or times no longer do.

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
        segments = [one.segment for one in open_]
        total = price(segments, terms.passengers)
        there, back = open_[: terms.outbound_segments], open_[terms.outbound_segments :]
        slices = (Slice(there), Slice(back)) if back else (Slice(there),)
        if total == terms.price and schedule_digest(segments) == terms.times:
            return Offer(offer_id, terms.expires_at, terms.passengers, slices, total)
        expires_at = expiry_of(self._clock())
        return self._new_offer(tenant_id, slices, terms.passengers, total, expires_at, offer_id)

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
        """The live numbers of every cabin. A flight that the hold store does not have yet has no holds."""
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
            if len(wanted) > 1:
                stations = [flight.origin for flight in flights.values()]
                minutes = await store.read_connection_times(session, stations)
        for place, (first_id, second_id) in enumerate(pairwise(wanted), start=1):
            first, second = flights.get(first_id), flights.get(second_id)
            if first is None or second is None:
                continue  # it is reported as sold out below
            is_return = place == terms.outbound_segments
            if not (
                allows_return(first, second) if is_return else connects(first, second, minutes)
            ):
                raise OfferExpired("The flights no longer connect; search again.")
        return flights

    def _new_offer(
        self,
        tenant_id: TenantId,
        slices: tuple[Slice, ...],
        passengers: PassengerCounts,
        total: Price,
        expires_at: datetime,
        supersedes: str | None = None,
    ) -> Offer:
        segments = [one.segment for slice_ in slices for one in slice_.segments]
        choices = tuple(ClassChoice(one.flight_id, one.booking_class) for one in segments)
        outbound = len(slices[0].segments)
        terms = OfferTerms(
            choices, passengers, total, expires_at, schedule_digest(segments), outbound
        )
        offer_id = self._tokens.seal(tenant_id, terms)
        return Offer(offer_id, expires_at, passengers, slices, total, supersedes)


def _check(query: SearchQuery) -> None:
    wrong: list[Violation] = []
    passengers = query.passengers
    if query.return_date is not None and query.return_date < query.departure_date:
        detail = "The way back is not before `departure_date`."
        wrong.append(Violation("parameter", "return_date", "out_of_range", detail))
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


def batched(values: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(values)
    while some := list(islice(rest, size)):
        yield some
