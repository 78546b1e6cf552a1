"""What a booking's content has to be, on values alone."""

import unicodedata
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.booking.model import (
    LOCATOR_ALPHABET,
    BookingRequest,
    Passenger,
    Payment,
    counted,
    draw_locator,
)
from app.booking.rules import (
    FOLDED_MAX,
    age_on,
    check,
    checked_name,
    folded,
    normal_email,
    normal_phone,
)
from app.errors import ValidationFailed, Violation
from app.ids import HoldId
from app.inventory.itinerary import PassengerCounts, Segment, price
from app.money import Money
from tests.builders.bookings import CONTACT, passenger
from tests.builders.flights import flight

NOW = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)
_FLIGHT = flight()  # leaves on 2027-03-10 by the clock of its origin
SEGMENTS = (Segment.of(_FLIGHT, _FLIGHT.cabins[0], 1),)


def violations(
    *travellers: Passenger, counts: PassengerCounts | None = None, paid: Money | None = None
) -> list[Violation]:
    held = counted(travellers) if counts is None else counts
    promised = price(SEGMENTS, held)
    request = BookingRequest(
        HoldId("hold_x"), travellers, CONTACT, Payment("pay-1", paid or promised.total)
    )
    try:
        check(request, held, promised, SEGMENTS, NOW)
    except ValidationFailed as refusal:
        return list(refusal.violations)
    return []


@pytest.mark.parametrize(
    ("type_", "born_on"),
    [
        ("INF", date(2025, 3, 11)),
        ("INF", date(2026, 11, 30)),
        ("CHD", date(2025, 3, 10)),
        ("CHD", date(2015, 3, 11)),
        ("ADT", date(2015, 3, 10)),
        ("ADT", date(1920, 1, 1)),
    ],
)
def test_an_age_is_that_on_the_first_departure(type_: str, born_on: date) -> None:
    others = () if type_ == "ADT" else (passenger(),)
    assert violations(*others, passenger(type_, born_on=born_on)) == []  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("type_", "born_on"),
    [
        ("INF", date(2025, 3, 10)),
        ("CHD", date(2025, 3, 11)),
        ("CHD", date(2015, 3, 10)),
        ("ADT", date(2015, 3, 11)),
    ],
)
def test_a_day_too_young_or_too_old_is_refused_where_it_stands(type_: str, born_on: date) -> None:
    (violation,) = violations(passenger(), passenger(type_, born_on=born_on))  # type: ignore[arg-type]
    assert (violation.at, violation.code) == ("/passengers/1/born_on", "age_mismatch")


def test_who_is_not_born_yet_does_not_travel() -> None:
    (violation,) = violations(passenger(), passenger("INF", born_on=date(2026, 12, 3)))
    assert (violation.at, violation.code) == ("/passengers/1/born_on", "out_of_range")


def test_the_29th_of_february_is_a_year_older_on_the_1st_of_march() -> None:
    leap_day = date(2024, 2, 29)
    assert age_on(date(2026, 2, 28), leap_day) == 1
    assert age_on(date(2026, 3, 1), leap_day) == 2
    assert age_on(date(2028, 2, 29), leap_day) == 4


def test_counts_and_amount_are_those_of_the_hold_and_all_is_told_at_once() -> None:
    found = violations(
        passenger(born_on=date(2020, 1, 1)),
        counts=PassengerCounts(2, 1),
        paid=Money(1, "CLP"),
    )
    assert [(one.at, one.code) for one in found] == [
        ("/passengers", "passenger_count_mismatch"),
        ("/passengers/0/born_on", "age_mismatch"),
        ("/payment/amount", "amount_mismatch"),
    ]
    assert "2 ADT, 1 CHD, 0 INF" in found[0].detail


def test_the_same_number_in_another_currency_is_another_amount() -> None:
    total = price(SEGMENTS, PassengerCounts(1)).total
    (violation,) = violations(passenger(), paid=Money(total.minor, "PYG"))
    assert violation.at == "/payment/amount"


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("Pérez", "PEREZ"),
        ("Ñandú", "nandu"),
        ("Straße", "STRASSE"),
        ("Øster-Łuk", "oster-luk"),
        ("İnan", "inan"),
        ("  De  la   Cruz ", "de la cruz"),
        ("Ｆull", "full"),
        ("O’Neil", "o’NEIL"),
    ],
)
def test_names_are_compared_without_case_and_accents(name: str, same: str) -> None:
    assert folded(name) == folded(same)


@given(st.text(min_size=1, max_size=64))
def test_a_folded_name_fits_its_column_however_it_is_spelled(name: str) -> None:
    assert len(folded(name)) <= FOLDED_MAX
    assert folded(unicodedata.normalize("NFD", name)) == folded(unicodedata.normalize("NFC", name))


def test_one_character_that_folds_into_many_still_fits() -> None:
    assert len(folded("\ufdfa" * 64)) == FOLDED_MAX


@pytest.mark.parametrize(
    "name", [" ", "\u0301", "A\x00na", "A\x1bna", "A\nna", "A\u2028na", "A\x85na"]
)
def test_a_name_is_neither_blank_nor_unprintable(name: str) -> None:
    with pytest.raises(ValueError, match="A name"):
        checked_name(name)


@pytest.mark.parametrize("name", ["Ana", "Ñ", "李", "محمد", "O'Neil", "नेहा"])
def test_a_name_stays_as_it_was_sent(name: str) -> None:
    assert checked_name(name) == name


def test_an_email_is_kept_in_its_normal_form() -> None:
    assert normal_email("Ana.Perez@EXAMPLE.com") == "Ana.Perez@example.com"


@pytest.mark.parametrize("text", ["ana", "ana@", "@example.com", "a na@example.com", "a@b@c.com"])
def test_what_is_no_email_is_refused_without_being_quoted(text: str) -> None:
    with pytest.raises(
        ValueError, match=r"^This takes an email address such as ana@example\.com\.$"
    ):
        normal_email(text)


@pytest.mark.parametrize("text", ["+56912345678", "+12025550123", "+442071838750"])
def test_a_phone_is_e164(text: str) -> None:
    assert normal_phone(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "56912345678",
        "+56 9 1234 5678",
        "+0912345678",
        "+5691234",
        "+999912345678",
        "+५६९१२३४५६७८",
        "tel:+56912345678",
        "+56912345678;ext=1",
        "+56912345678\n",
        "0056912345678",
    ],
)
def test_any_other_phone_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"E\.164"):
        normal_phone(text)


def test_a_locator_is_six_characters_that_are_not_mistaken_for_others() -> None:
    drawn = {draw_locator() for _ in range(500)}
    assert len(drawn) > 490
    assert {len(locator) for locator in drawn} == {6}
    assert set("".join(drawn)) == set(LOCATOR_ALPHABET)
    assert not set("ILO01") & set(LOCATOR_ALPHABET)
