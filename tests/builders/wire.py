"""Requests as clients send them: valid by default; a keyword varies one thing.

Departures lie ahead of whatever day it is, because the program is asked with its own clock.
"""

import asyncio
import itertools
import secrets
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import httpx

Json = dict[str, Any]
Classes = Sequence[tuple[str, int, str]]

CLASSES: Classes = (("Y", 10, "129900"), ("M", 6, "89900"))
DEPARTURE_DATE = date.today() + timedelta(days=30)  # noqa: DTZ011 - any day ahead will do
_ZONES = {"SCL": "America/Santiago", "GRU": "America/Sao_Paulo", "LIM": "America/Lima"}
_YEARS = {"ADT": 36, "CHD": 6, "INF": 1}
_numbers = itertools.count(1)


def new_flight_id() -> str:
    return f"flt_T{next(_numbers)}-{secrets.token_hex(4)}"


def new_key() -> dict[str, str]:
    """As a header."""
    return {"Idempotency-Key": f"key-{next(_numbers)}-{secrets.token_hex(4)}"}


def flight_body(
    *,
    origin: str = "SCL",
    destination: str = "GRU",
    departure_date: date = DEPARTURE_DATE,
    hour: int = 8,
    classes: Classes = CLASSES,
    currency: str = "CLP",
) -> Json:
    departing = datetime(departure_date.year, departure_date.month, departure_date.day, hour, 30)  # noqa: DTZ001 - local
    arriving = departing + timedelta(hours=6)
    return {
        "carrier": "LA",
        "flight_number": "801",
        "origin": origin,
        "destination": destination,
        "departing_at": {"local": departing.isoformat(), "time_zone": _ZONES[origin]},
        "arriving_at": {"local": arriving.isoformat(), "time_zone": _ZONES[destination]},
        "cabins": [
            {
                "cabin": "economy",
                "capacity": 150,
                "booking_classes": [
                    {
                        "booking_class": letter,
                        "limit": limit,
                        "fare": {"amount": amount, "currency": currency},
                    }
                    for letter, limit, amount in classes
                ],
            }
        ],
    }


def limit_body(letter: str, limit: int, *, cabin: str = "economy") -> Json:
    return {
        "cabins": [{"cabin": cabin, "booking_classes": [{"booking_class": letter, "limit": limit}]}]
    }


def hold_body(
    *choices: tuple[str, str],
    adults: int = 1,
    children: int = 0,
    infants: int = 0,
    client_reference: str | None = None,
) -> Json:
    """Segments as (flight id, booking class)."""
    body: Json = {
        "segments": [{"flight_id": flight, "booking_class": letter} for flight, letter in choices],
        "passengers": {"ADT": adults, "CHD": children, "INF": infants},
    }
    if client_reference is not None:
        body["client_reference"] = client_reference
    return body


def passenger_body(kind: str = "ADT", *, family_name: str = "Pérez") -> Json:
    born_on = DEPARTURE_DATE - timedelta(days=round(365.25 * _YEARS[kind]))
    return {
        "type": kind,
        "given_name": "Ana",
        "family_name": family_name,
        "born_on": born_on.isoformat(),
    }


def booking_body(
    hold: Mapping[str, Any],
    *,
    family_name: str = "Pérez",
    client_reference: str | None = None,
) -> Json:
    """The body that books the answered hold."""
    body: Json = {
        "hold_id": hold["id"],
        "passengers": [
            passenger_body(kind, family_name=family_name)
            for kind, count in hold["passengers"].items()
            for _ in range(count)
        ],
        "contact": {"email": "ana@example.com", "phone": "+56912345678"},
        "payment": {"reference": "pay-1", **hold["price"]["total"]},
    }
    if client_reference is not None:
        body["client_reference"] = client_reference
    return body


async def put_flight(ops: httpx.AsyncClient, **terms: Any) -> str:
    """Puts a new flight of `flight_body(**terms)` on sale and returns its id."""
    flight_id = new_flight_id()
    answer = await ops.put(f"/v1/flights/{flight_id}", json=flight_body(**terms))
    assert answer.status_code == 201, answer.text
    return flight_id


async def hold(client: httpx.AsyncClient, *choices: tuple[str, str], **counts: Any) -> Json:
    """A hold that is granted."""
    answer = await ask_hold(client, hold_body(*choices, **counts))
    assert answer.status_code == 201, answer.text
    return as_json(answer)


async def book(client: httpx.AsyncClient, held: Mapping[str, Any], **terms: Any) -> Json:
    """A booking that is made."""
    answer = await ask_booking(client, booking_body(held, **terms))
    assert answer.status_code == 201, answer.text
    return as_json(answer)


async def ask_hold(
    client: httpx.AsyncClient, body: Json, key: Mapping[str, str] | None = None
) -> httpx.Response:
    return await client.post("/v1/holds", json=body, headers=key or new_key())


async def ask_booking(
    client: httpx.AsyncClient, body: Json, key: Mapping[str, str] | None = None
) -> httpx.Response:
    return await client.post("/v1/bookings", json=body, headers=key or new_key())


async def event_about(client: httpx.AsyncClient, aggregate_id: str, event_type: str) -> Json:
    """The event, as soon as the relay has given it a position."""
    async with asyncio.timeout(10):
        while True:
            for event in await events_about(client, aggregate_id):
                if event["type"] == event_type:
                    return event
            await asyncio.sleep(0.05)


async def events_about(client: httpx.AsyncClient, aggregate_id: str) -> list[Json]:
    found: list[Json] = []
    after = None
    while True:
        query = {"limit": "200"} | ({"after": after} if after else {})
        page = (await client.get("/v1/events", params=query)).json()
        found += [one for one in page["data"] if one["aggregate"]["id"] == aggregate_id]
        after = page["meta"]["after"]
        if not page["meta"]["has_more"]:
            return found


async def seats(ops: httpx.AsyncClient, flight_id: str) -> dict[str, tuple[int, int, int]]:
    """By class of the economy cabin: limit, sold, held."""
    answer = await ops.get(f"/v1/flights/{flight_id}/availability")
    assert answer.status_code == 200, answer.text
    (cabin,) = answer.json()["cabins"]
    return {
        one["booking_class"]: (one["limit"], one["sold"], one["held"])
        for one in cabin["booking_classes"]
    }


def told(answer: httpx.Response) -> tuple[int, bytes, str | None]:
    """The parts of an answer that a replay repeats byte for byte."""
    return answer.status_code, answer.content, answer.headers.get("location")


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """Status and code; the answer has to be a refusal."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, as_json(answer)["code"]


def outcome(answer: httpx.Response) -> tuple[int, str | None]:
    """Status and code; None where it is no refusal."""
    return answer.status_code, None if answer.is_success else refusal(answer)[1]


def as_json(answer: httpx.Response) -> Json:
    body: Json = answer.json()
    return body
