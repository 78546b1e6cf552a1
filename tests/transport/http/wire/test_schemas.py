"""Conversion of domain values to the schemas of the contract, and validation of input."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from app.clock import instant_text
from app.ids import FlightId
from app.inventory import itinerary
from app.inventory.model import BookingClass, CabinName, LocalTime
from app.money import Money
from app.transport.http.wire.schemas import (
    CountsIn,
    Listing,
    MoneyIn,
    Output,
    counts_out,
    duration_text,
    listing,
    price_out,
    segment_out,
)

SEGMENT = itinerary.Segment(
    FlightId("flt_1"),
    "LA",
    "801",
    "SCL",
    "GRU",
    LocalTime(
        datetime(2026, 12, 10, 8, 30),  # noqa: DTZ001 - a wall-clock time
        "America/Santiago",
        datetime(2026, 12, 10, 11, 30, tzinfo=UTC),
    ),
    LocalTime(
        datetime(2026, 12, 10, 12, 35),  # noqa: DTZ001 - a wall-clock time
        "America/Sao_Paulo",
        datetime(2026, 12, 10, 15, 35, tzinfo=UTC),
    ),
    CabinName.ECONOMY,
    BookingClass("Y"),
    Money(12990, "CLP"),
)


def test_a_segment() -> None:
    assert segment_out(SEGMENT).model_dump(mode="json") == {
        "flight_id": "flt_1",
        "carrier": "LA",
        "flight_number": "801",
        "origin": "SCL",
        "destination": "GRU",
        "departing_at": {
            "local": "2026-12-10T08:30:00",
            "time_zone": "America/Santiago",
            "utc": "2026-12-10T11:30:00Z",
        },
        "arriving_at": {
            "local": "2026-12-10T12:35:00",
            "time_zone": "America/Sao_Paulo",
            "utc": "2026-12-10T15:35:00Z",
        },
        "duration": "PT4H5M",
        "cabin": "economy",
        "booking_class": "Y",
        "fare": {"amount": "12990", "currency": "CLP"},
    }


def test_a_price_and_counts() -> None:
    counts = itinerary.PassengerCounts(2, 1, 0)
    price = itinerary.price([SEGMENT, SEGMENT], counts)
    assert price_out(price).model_dump(mode="json") == {
        "total": {"amount": "77940", "currency": "CLP"},
        "passengers": [
            {"type": "ADT", "count": 2, "each": {"amount": "25980", "currency": "CLP"}},
            {"type": "CHD", "count": 1, "each": {"amount": "25980", "currency": "CLP"}},
        ],
    }
    assert counts_out(counts).model_dump() == {"ADT": 2, "CHD": 1, "INF": 0}


@pytest.mark.parametrize(
    ("instant", "text"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05Z"),
        (datetime(2026, 1, 2, 3, 4, 5, 120_999, tzinfo=UTC), "2026-01-02T03:04:05.120Z"),
        (datetime(2026, 1, 2, 3, 4, 5, 999, tzinfo=UTC), "2026-01-02T03:04:05Z"),
    ],
)
def test_instants(instant: datetime, text: str) -> None:
    assert instant_text(instant) == text


@pytest.mark.parametrize(
    ("minutes", "text"), [(245, "PT4H5M"), (60, "PT1H"), (5, "PT5M"), (0, "PT0M"), (1500, "PT25H")]
)
def test_durations(minutes: int, text: str) -> None:
    assert duration_text(timedelta(minutes=minutes)) == text


def test_counts_that_are_missing_are_none() -> None:
    assert CountsIn.model_validate({"ADT": 1}).value() == itinerary.PassengerCounts(1, 0, 0)


@pytest.mark.parametrize(
    "amount", ["12990.0", "1e3", "-1", "+1", "01", "1_0", " 1", "1.", "", "٣", "9" * 13]
)
def test_money_has_one_spelling(amount: str) -> None:
    with pytest.raises(ValidationError):
        MoneyIn(amount=amount, currency="CLP")


def test_money_in_is_exact() -> None:
    assert MoneyIn(amount="129.90", currency="USD").value() == Money(12990, "USD")


class Thing(Output):
    name: str


def test_a_listing_says_whether_there_is_more() -> None:
    last: Listing[Thing] = listing([Thing(name="x")], None)
    more: Listing[Thing] = listing([Thing(name="x")], "cursor")
    assert last.model_dump() == {
        "data": [{"name": "x"}],
        "meta": {"after": None, "has_more": False},
    }
    assert more.model_dump()["meta"] == {"after": "cursor", "has_more": True}
