"""The rules of a flight, each with a flight that breaks it and nothing else."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import ValidationFailed
from app.inventory.model import CabinName
from app.money import Money
from app.schedule.model import resolve_local, same_shape, same_terms, validated
from tests.builders.flights import DEPARTING, cabin, draft, flight

CLP = Money(1000, "CLP")
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _at(local: str) -> datetime:
    return datetime.fromisoformat(local)


def _refused_at(**varied: object) -> list[str]:
    with pytest.raises(ValidationFailed) as refused:
        validated(draft(**varied))  # type: ignore[arg-type]
    return [violation.at for violation in refused.value.violations]


def test_a_flight_is_resolved_to_instants() -> None:
    valid = flight()
    assert valid.departing_at.utc.isoformat() == "2027-03-10T11:30:00+00:00"
    assert valid.version == 1


@pytest.mark.parametrize(
    ("varied", "at"),
    [
        ({"flight_id": "LA801"}, "/id"),
        ({"flight_id": "flt_" + "x" * 61}, "/id"),
        ({"carrier": "la"}, "/carrier"),
        ({"carrier": "LAN"}, "/carrier"),
        ({"flight_number": ""}, "/flight_number"),
        ({"flight_number": "12345"}, "/flight_number"),
        ({"flight_number": "8A1"}, "/flight_number"),
        ({"flight_number": "801\n"}, "/flight_number"),
        ({"origin": "SC"}, "/origin"),
        ({"destination": "gru"}, "/destination"),
        ({"origin": "GRU"}, "/destination"),
        ({"departing_time_zone": "America/Atlantis"}, "/departing_at/time_zone"),
        ({"departing_time_zone": "../etc/passwd"}, "/departing_at/time_zone"),
        ({"arriving_time_zone": "America"}, "/arriving_at/time_zone"),
        ({"arriving_time_zone": ""}, "/arriving_at/time_zone"),
        ({"arriving": DEPARTING}, "/arriving_at"),
        ({"departing": _at("1999-12-31T22:00"), "arriving": DEPARTING}, "/departing_at/local"),
        ({"arriving": _at("9999-12-31T23:59:59")}, "/arriving_at/local"),
        (
            {"departing": _at("2027-03-10T08:30:00.5"), "arriving": _at("2027-03-10T14:30")},
            "/departing_at/local",
        ),
        ({"cabins": ()}, "/cabins"),
        ({"cabins": (cabin(), cabin((("B", 1, CLP),)))}, "/cabins/1/cabin"),
        ({"cabins": (cabin(capacity=0),)}, "/cabins/0/capacity"),
        ({"cabins": (cabin(capacity=10_000),)}, "/cabins/0/capacity"),
        ({"classes": ()}, "/cabins/0/booking_classes"),
        ({"classes": (("y", 1, CLP),)}, "/cabins/0/booking_classes/0/booking_class"),
        (
            {"classes": (("Y", 1, CLP), ("Y", 1, CLP))},
            "/cabins/0/booking_classes/1/booking_class",
        ),
        (
            {"cabins": (cabin(), cabin((("M", 1, CLP),), name=CabinName.BUSINESS))},
            "/cabins/1/booking_classes/0/booking_class",
        ),
        ({"classes": (("Y", -1, CLP),)}, "/cabins/0/booking_classes/0/limit"),
        ({"classes": (("Y", 10_000, CLP),)}, "/cabins/0/booking_classes/0/limit"),
        (
            {"classes": (("Y", 1, CLP), ("M", 1, Money(1001, "CLP")))},
            "/cabins/0/booking_classes/1/fare",
        ),
        (
            {"classes": (("Y", 1, CLP), ("M", 1, Money(1, "USD")))},
            "/cabins/0/booking_classes/1/fare",
        ),
    ],
)
def test_one_broken_rule_is_named_with_its_place(varied: dict[str, object], at: str) -> None:
    assert _refused_at(**varied) == [at]


@pytest.mark.parametrize(
    "varied",
    [
        {"flight_id": "flt_" + "x" * 60},
        {"carrier": "G3"},
        {"flight_number": "1A"},
        {"classes": (("Y", 0, CLP), ("M", 9999, CLP))},
        {"classes": tuple((letter, 1, CLP) for letter in ALPHABET)},
        {"cabins": (cabin(capacity=1),)},
        {
            "arriving": DEPARTING + timedelta(seconds=1),
            "destination": "PMC",
            "arriving_time_zone": "America/Santiago",
        },
    ],
)
def test_the_bounds_themselves_are_valid(varied: dict[str, object]) -> None:
    validated(draft(**varied))  # type: ignore[arg-type]


def test_everything_wrong_is_named_at_once() -> None:
    assert _refused_at(carrier="x", origin="", classes=()) == [
        "/carrier",
        "/origin",
        "/cabins/0/booking_classes",
    ]


def test_a_local_time_that_the_clocks_skip_does_not_exist() -> None:
    # Chile goes from 23:59:59 to 01:00:00 in the night to 6 September 2026.
    with pytest.raises(ValueError, match="does not exist"):
        resolve_local(_at("2026-09-06T00:30"), "America/Santiago")


def test_an_ambiguous_local_time_is_the_first() -> None:
    # Chile shows 23:00 to 23:59 twice on 4 April 2026; the first is still summer time, UTC-3.
    for fold in (0, 1):
        time = resolve_local(_at("2026-04-04T23:30").replace(fold=fold), "America/Santiago")
        assert time.utc.isoformat() == "2026-04-05T02:30:00+00:00"


@given(
    st.datetimes(_at("2000-01-01"), _at("2099-12-31")).map(
        lambda local: local.replace(microsecond=0, fold=0)
    ),
    st.sampled_from(["America/Santiago", "America/Asuncion", "America/Sao_Paulo", "Asia/Tehran"]),
)
def test_a_resolved_time_shows_on_the_clock(local: datetime, time_zone: str) -> None:
    try:
        time = resolve_local(local, time_zone)
    except ValueError:
        return
    assert time.utc.astimezone(ZoneInfo(time_zone)).replace(tzinfo=None, fold=0) == local


def test_limits_fares_and_capacity_are_terms_but_not_shape() -> None:
    other = flight(cabins=(cabin((("Y", 3, CLP), ("M", 2, CLP)), capacity=9),))
    assert same_shape(flight(), other)
    assert not same_terms(flight(), other)


@pytest.mark.parametrize(
    "varied",
    [
        {"carrier": "AV"},
        {"flight_number": "802"},
        {"destination": "LIM"},
        {"departing": DEPARTING + timedelta(minutes=5), "arriving": DEPARTING + timedelta(hours=6)},
        {"classes": (("M", 10, CLP), ("Y", 6, CLP))},
        {"cabins": (cabin(name=CabinName.BUSINESS),)},
    ],
)
def test_times_stations_carrier_and_classes_are_the_shape(varied: dict[str, object]) -> None:
    assert not same_shape(flight(), flight(**varied))  # type: ignore[arg-type]
