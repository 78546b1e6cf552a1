"""Flights, live holds and facts in whatever number, written by SQL; Redis gets them from the rebuild.

The network has two hubs and spokes: every market is served DEPARTURES times a day, and more flights
mean more days, so that a market and day stay what they are while the tables grow. Ids have a fixed
width and follow from their numbers, so that a load generator can name them without having seen them.
"""

import hashlib
import json
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import asyncpg

from app.hold.model import JournalEntry
from app.ids import FlightId, HoldId, TenantId
from app.inventory.itinerary import PassengerCounts, Segment, price
from app.inventory.model import (
    BookingClass,
    Cabin,
    CabinName,
    FareClass,
    Flight,
    LocalTime,
    SeatLine,
)
from app.money import Money

SPOKES: Final = 189
HUBS: Final = ("AAH", "ZZH")
DEPARTURES: Final = 4  # a market and day
LIMIT: Final = 9999
FARES: Final = {"Y": 29990, "B": 24990, "M": 19990, "H": 14990, "Q": 9990}
CURRENCY: Final = "CLP"
TENANT: Final = TenantId("demo")
LIVE_SECONDS: Final = 3600
_DIGITS = str.maketrans("0189", "ghij")

_FLIGHTS = f"""
    WITH n AS (
        SELECT n, (n %% cardinality($1::text[]))::int + 1 AS market,
               (n / cardinality($1::text[])) %% {DEPARTURES} AS departure,
               n / (cardinality($1::text[]) * {DEPARTURES}) AS day
        FROM generate_series($4::bigint, $5::bigint - 1) AS n),
    timed AS (
        SELECT *, $3::date + day::int + make_interval(
            hours => (departure * 4 + 5)::int, mins => market %% 55) AS leaves FROM n)
    INSERT INTO flights (
        flight_id, carrier, flight_number, origin, destination, departure_date,
        departing_local, departing_time_zone, departing_utc,
        arriving_local, arriving_time_zone, arriving_utc)
    SELECT 'flt_n' || lpad(n::text, 8, '0'), 'HF', (n %% 9999 + 1)::text,
        ($1::text[])[market], ($2::text[])[market], leaves::date,
        leaves, 'UTC', leaves AT TIME ZONE 'UTC',
        leaves + interval '100 minutes', 'UTC', (leaves + interval '100 minutes') AT TIME ZONE 'UTC'
    FROM timed
""".replace("%%", "%")
_INVENTORY = """
    INSERT INTO inventory (
        flight_id, cabin, rank, capacity, booking_classes, fares, currency, limits, ceilings, sold,
        ceiling_total)
    SELECT flight_id, 'economy', 0, 180, $1::text[], $2::bigint[], $3, $4::int[], $4::int[],
        array_fill(0, ARRAY[cardinality($4::int[])]), ($4::int[])[1]
    FROM flights
"""
_HOLDS = """
    INSERT INTO hold_journal (
        hold_id, tenant_id, idempotency_key, attempt, request_hash, lines, segments, passengers,
        price, epoch, granted_at, expires_at, first_expires_at, state)
    SELECT 'hold_' || translate(left(md5(n::text), 26), '0189', 'ghij'), $1, 'seed-' || n, 1,
        md5(n::text) || md5(n::text),
        jsonb_build_array(
            jsonb_build_array(a, 'economy', 1, 1), jsonb_build_array(b, 'economy', 1, 1)),
        jsonb_build_array(
            jsonb_set($2::jsonb, '{flight_id}', to_jsonb(a)),
            jsonb_set($2::jsonb, '{flight_id}', to_jsonb(b))),
        $3::jsonb, $4::jsonb, (SELECT epoch FROM redis_epoch WHERE shard = 0),
        now() - n % 1000000 * interval '1 microsecond', now() + $5::int * interval '1 second',
        now() + $5::int * interval '1 second', 'HELD'
    FROM (
        SELECT n, 'flt_n' || lpad((n * 7919 % $8::int)::text, 8, '0') AS a,
               'flt_n' || lpad(((n * 7919 + 1 + n % ($8 - 1)) % $8::int)::text, 8, '0') AS b
        FROM generate_series($6::bigint, $7::bigint - 1) AS n) AS pair
"""
_FACTS = """
    INSERT INTO outbox (
        event_id, type, version, tenant_id, aggregate_type, aggregate_id, sequence, occurred_at, data)
    SELECT 'evt_' || left(md5($3 || n::text), 26), 'booking.confirmed', 1, $1, 'booking',
        'bkg_' || left(md5($3 || n::text), 26), 1, clock_timestamp(), $2::jsonb
    FROM generate_series(1, $4::int) AS n
"""


def flight_id(number: int) -> FlightId:
    return FlightId(f"flt_n{number:08d}")


def hold_id_of(number: int) -> HoldId:
    digest = hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest()
    return HoldId("hold_" + digest[:26].translate(_DIGITS))


def markets() -> list[tuple[str, str]]:
    """Hub and spoke both ways, and hub to hub."""
    spokes = [f"S{chr(65 + n // 26)}{chr(65 + n % 26)}" for n in range(SPOKES)]
    pairs = [(hub, spoke) for hub in HUBS for spoke in spokes]
    return [*pairs, *((there, here) for here, there in pairs), HUBS, (HUBS[1], HUBS[0])]


def first_day() -> date:
    return datetime.now(UTC).date() + timedelta(days=2)


def days(flights: int) -> int:
    """That so many flights fill."""
    return max(1, flights // (len(markets()) * DEPARTURES))


async def seed_flights(
    connection: asyncpg.Connection, count: int, *, at_once: int = 50_000
) -> None:
    origins, destinations = zip(*markets(), strict=True)
    for start in range(0, count, at_once):
        end = min(count, start + at_once)
        await connection.execute(
            _FLIGHTS, list(origins), list(destinations), first_day(), start, end, timeout=300
        )
    limits = [LIMIT] * len(FARES)
    values = (list(FARES), list(FARES.values()), CURRENCY, limits)
    await connection.execute(_INVENTORY, *values, timeout=900)
    await connection.execute("ANALYZE flights, inventory", timeout=300)


async def sell_out(connection: asyncpg.Connection, number: int) -> None:
    """All seats of the flight are sold, in its highest class."""
    await connection.execute(
        "UPDATE inventory SET sold = ARRAY[$2::int] || array_fill(0, ARRAY[$3::int]), sold_total = $2::int"
        " WHERE flight_id = $1",
        flight_id(number),
        LIMIT,
        len(FARES) - 1,
    )


async def seed_holds(
    connection: asyncpg.Connection, count: int, flights: int, *, at_once: int = 50_000
) -> None:
    """Live for an hour, each of two seats on two of so many flights."""
    terms = a_hold()
    for start in range(0, count, at_once):
        await connection.execute(
            _HOLDS,
            TENANT,
            json.dumps(terms.segments[0].to_json()),
            json.dumps(terms.passengers.to_json()),
            json.dumps(terms.price.to_json()),
            LIVE_SECONDS,
            start,
            min(count, start + at_once),
            flights,
            timeout=300,
        )
    await connection.execute("ANALYZE hold_journal", timeout=300)


async def seed_facts(connection: asyncpg.Connection, count: int, salt: str) -> None:
    data = {
        "booking_id": "bkg_" + "a" * 26,
        "hold_id": hold_id_of(1),
        "segments": [{"flight_id": flight_id(n), "booking_class": "Y", "seats": 1} for n in (1, 2)],
        "passengers": {"ADT": 1, "CHD": 0, "INF": 0},
        "price": {"amount": "59980", "currency": CURRENCY},
    }
    await connection.execute(_FACTS, TENANT, json.dumps(data), salt, count, timeout=300)


def a_hold() -> JournalEntry:
    """What every seeded hold is like: one adult on two flights."""
    segments = tuple(_segment(number) for number in (1, 2))
    passengers = PassengerCounts(1)
    now = datetime.now(UTC)
    return JournalEntry(
        hold_id=hold_id_of(0),
        tenant_id=TENANT,
        idempotency_key="seed-0",
        attempt=1,
        request_hash="0" * 64,
        client_reference=None,
        lines=tuple(SeatLine(one.flight_id, one.cabin, 1, 1) for one in segments),
        segments=segments,
        passengers=passengers,
        price=price(segments, passengers),
        epoch=1,
        granted_at=now,
        expires_at=now + timedelta(seconds=LIVE_SECONDS),
        first_expires_at=now + timedelta(seconds=LIVE_SECONDS),
    )


def _segment(number: int) -> Segment:
    leaves = datetime.combine(first_day(), datetime.min.time()) + timedelta(hours=5, minutes=number)
    classes: Any = tuple(
        FareClass(BookingClass(letter), LIMIT, Money(fare, CURRENCY))
        for letter, fare in FARES.items()
    )
    cabin = Cabin(CabinName.ECONOMY, 180, classes)
    origin, destination = markets()[number]
    return Segment.of(
        Flight(
            flight_id(number),
            "HF",
            str(number + 1),
            origin,
            destination,
            LocalTime(leaves, "UTC", leaves.replace(tzinfo=UTC)),
            LocalTime(
                leaves + timedelta(minutes=100),
                "UTC",
                leaves.replace(tzinfo=UTC) + timedelta(minutes=100),
            ),
            (cabin,),
        ),
        cabin,
        1,
    )
