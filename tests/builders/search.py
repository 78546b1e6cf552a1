"""Search on real servers for tests: flights on sale, searches, and a clock that tests move."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import get_args

import httpx

from app.hold.model import ClassChoice, Hold, HoldRequest, OfferTerms
from app.hold.service import HoldService
from app.identity.errors import Unauthenticated
from app.identity.principal import Principal, Scope
from app.ids import FlightId, TenantId
from app.inventory import store as inventory_store
from app.inventory.itinerary import (
    PassengerCounts,
    PassengerPrice,
    PassengerType,
    Price,
    Segment,
    price,
    schedule_digest,
)
from app.inventory.model import CabinName, Flight, SeatLine
from app.money import Money
from app.schedule.service import ScheduleService
from app.search.model import Offer, OfferedSegment, Quote, SearchQuery, Slice, Sort
from app.search.offer_token import OfferTokens
from app.search.service import SearchService
from app.transport.http.application import create_app
from app.transport.http.pipeline.dependencies import CURSORS
from app.transport.http.routers.search import OFFER_PAGES, SEARCH, OfferPages, router
from app.transport.http.wire.cursors import Cursors
from app.wiring import Core
from tests.builders.flights import DEPARTING, flight
from tests.builders.holds import DEMO, RIVAL, key, request
from tests.fixtures.core import sell_from

SIGNING_KEYS = ["s" * 32]
DAY = DEPARTING.date()
NOW = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)

_FAMILY = PassengerCounts(2, 1, 1)
_CALLERS = {
    "demo": Principal(DEMO, "demo", "demo", frozenset({Scope.OFFERS_READ})),
    "rival": Principal(RIVAL, "rival", "rival", frozenset({Scope.OFFERS_READ})),
    "ops": Principal(TenantId("ops"), "ops", "ops", frozenset(Scope)),
    "poor": Principal(DEMO, "poor", "poor", frozenset({Scope.HOLDS_WRITE})),
}


@dataclass
class Moment:
    """A clock that stands still until a test moves it."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Shop:
    core: Core
    moment: Moment
    tokens: OfferTokens = field(default_factory=lambda: OfferTokens(SIGNING_KEYS))

    @property
    def search(self) -> SearchService:
        """One that has read nothing yet."""
        core = self.core
        return SearchService(
            core.database, core.availability, self.tokens, self.moment, core.background
        )

    @property
    def schedule(self) -> ScheduleService:
        """Of another process: searches hear of its changes by themselves."""
        return ScheduleService(self.core.database, self.core.availability, self.moment)

    @property
    def holds(self) -> HoldService:
        return self.core.holds(self.tokens.open_offer)

    async def sells(self, *flights: Flight) -> None:
        await sell_from(self.core, *flights)

    async def offers(self, asked: SearchQuery | None = None) -> list[Offer]:
        """All of them, by one page."""
        offers, after = await self.search.offers(DEMO, asked or query(), None, 200)
        assert after is None
        return offers

    async def ways(self, asked: SearchQuery | None = None) -> list[str]:
        """What is offered, each way by its flights: "flt_a", or "flt_a flt_b"."""
        return [" ".join(offer.slices[0].flight_ids) for offer in await self.offers(asked)]

    async def seats(self, asked: SearchQuery | None = None) -> list[tuple[str, str, int]]:
        """What is offered, as (flight, class, seats left)."""
        return [facts(offer) for offer in await self.offers(asked)]

    async def hold(self, flight_id: str, letter: str, seats: int = 1) -> Hold:
        asked = request((flight_id, letter), adults=seats)
        return (await self.holds.place(DEMO, asked, key())).value

    async def hold_offer(self, offer: Offer) -> Hold:
        asked = HoldRequest(offer.offer_id, (), None)
        return (await self.holds.place(DEMO, asked, key())).value

    async def sell(self, hold: Hold, position: int) -> None:
        """What a booking does to the seats of a hold of one segment."""
        await self.core.pins.pin(hold.hold_id)
        (segment,) = hold.segments
        seats = hold.passengers.seats
        line = SeatLine(segment.flight_id, segment.cabin, position, seats)
        rows = await self.core.database.run_in_transaction(
            lambda session: inventory_store.add_sold(session, [line])
        )
        assert isinstance(rows, list)
        await self.core.pins.finish(hold.hold_id, rows)

    @asynccontextmanager
    async def client(self, token: str = "demo") -> AsyncIterator[httpx.AsyncClient]:
        """Speaks HTTP to an application that has search alone; the token is the caller's name."""

        async def authenticate(name: str) -> Principal:
            if name not in _CALLERS:
                raise Unauthenticated
            return _CALLERS[name]

        cursors = Cursors(SIGNING_KEYS)
        app = create_app(
            authenticate=authenticate,
            routers=[router],
            services=[
                CURSORS.given(cursors),
                SEARCH.given(self.search),
                OFFER_PAGES.given(OfferPages(self.search, cursors)),
            ],
            checks={},
            version="1",
        )
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://holdfast",
            headers={"Authorization": f"Bearer {token}"},
        ) as client:
            yield client


def query(
    *,
    origin: str = "SCL",
    destination: str = "GRU",
    departure_date: date = DAY,
    adults: int = 1,
    children: int = 0,
    infants: int = 0,
    cabin: CabinName = CabinName.ECONOMY,
    sort: Sort = Sort.PRICE,
    max_connections: int = 1,
    return_date: date | None = None,
) -> SearchQuery:
    passengers = PassengerCounts(adults, children, infants)
    return SearchQuery(
        origin,
        destination,
        departure_date,
        passengers,
        cabin,
        sort,
        max_connections,
        return_date,
    )


def facts(offer: Offer) -> tuple[str, str, int]:
    (one,) = offer.slices[0].segments
    return one.segment.flight_id, one.segment.booking_class, one.seats_left


def quote(
    flight_id: str = "flt_a",
    *,
    minor: int = 10_000,
    currency: str = "CLP",
    hours: int = 0,
    minutes: int = 120,
) -> Quote:
    """For one adult; departs `hours` after 08:30 and flies `minutes`."""
    departing = DEPARTING + timedelta(hours=hours)
    dated = flight(
        flight_id=flight_id,
        departing=departing,
        arriving=departing + timedelta(minutes=minutes),
        destination="SCQ",
        arriving_time_zone="America/Santiago",
        classes=(("Y", 9, Money(minor, currency)),),
    )
    return quote_of(Segment.of(dated, dated.cabins[0], 1))


def quote_of(*segments: Segment) -> Quote:
    """For one adult, with seats enough on every segment."""
    slice_ = Slice(tuple(OfferedSegment(segment, 9) for segment in segments))
    return Quote((slice_,), price(segments, PassengerCounts(1)))


def terms(
    *choices: tuple[str, str],
    passengers: PassengerCounts = _FAMILY,
    each: Sequence[Money] = (Money(89_900, "CLP"), Money(89_900, "CLP"), Money(0, "CLP")),
    expires_at: datetime = NOW + timedelta(minutes=20),
    flights: Sequence[Flight] = (),
) -> OfferTerms:
    """`each` is the price of an ADT, a CHD and an INF; `flights` are as `flight()` unless given."""
    counts = (passengers.adults, passengers.children, passengers.infants)
    lines = tuple(
        PassengerPrice(type_, count, money)
        for type_, count, money in zip(get_args(PassengerType), counts, each, strict=True)
        if count
    )
    total = sum((line.each * line.count for line in lines), start=Money(0, each[0].currency))
    segments = tuple(
        ClassChoice(FlightId(flight_id), letter)
        for flight_id, letter in choices or (("flt_a", "M"),)
    )
    known = {one.flight_id: one for one in flights}
    dated = [
        known.get(choice.flight_id) or flight(flight_id=choice.flight_id) for choice in segments
    ]
    times = schedule_digest([Segment.of(one, one.cabins[0], 1) for one in dated])
    return OfferTerms(segments, passengers, Price(total, lines), expires_at, times, len(segments))
