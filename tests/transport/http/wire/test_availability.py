"""The availability for sellers and for administrators."""

from datetime import UTC, datetime

from app.inventory.model import CabinCounts, CabinName
from app.money import Money
from app.transport.http.wire.availability import availability_out
from tests.builders.flights import flight

NOW = datetime(2026, 12, 10, tzinfo=UTC)
FARE = Money(1000, "CLP")
FLIGHT = flight(classes=(("Y", 20, FARE), ("M", 8, FARE), ("Q", 4, FARE), ("N", 2, FARE)))
COUNTS = {CabinName.ECONOMY: CabinCounts((20, 8, 4, 2), (0, 0, 1, 1), (0, 0, 2, 0))}


def test_partners_learn_no_more_than_nine_and_a_status() -> None:
    (cabin,) = availability_out(FLIGHT, COUNTS, NOW, exact=False).model_dump(mode="json")["cabins"]
    assert cabin["booking_classes"] == [
        {"booking_class": "Y", "open": 9, "status": "open"},
        {"booking_class": "M", "open": 4, "status": "low"},
        {"booking_class": "Q", "open": 0, "status": "held_out"},
        {"booking_class": "N", "open": 0, "status": "held_out"},
    ]


def test_administrators_see_the_numbers() -> None:
    shown = availability_out(FLIGHT, COUNTS, NOW, exact=True).model_dump(mode="json")
    assert shown["as_of"] == "2026-12-10T00:00:00Z"
    assert shown["cabins"][0]["booking_classes"][2] == {
        "booking_class": "Q",
        "open": 0,
        "status": "held_out",
        "limit": 4,
        "sold": 1,
        "held": 2,
    }
