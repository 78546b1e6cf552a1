"""Money is exact, and says so in one form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.money import Money, decimals

CURRENCIES = ("CLP", "PYG", "BRL", "USD", "COP", "PEN", "ARS", "KWD")


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [("12990", "CLP", 12990), ("0", "CLP", 0), ("129.90", "USD", 12990), ("0.01", "BRL", 1)],
)
def test_the_one_form(amount: str, currency: str, minor: int) -> None:
    assert Money.parse(amount, currency) == Money(minor, currency)
    assert Money(minor, currency).amount == amount


@pytest.mark.parametrize(
    ("amount", "currency"),
    [
        ("129.9", "USD"),
        ("129", "USD"),
        ("129.900", "USD"),
        ("12990.0", "CLP"),
        ("01", "CLP"),
        ("-1", "CLP"),
        ("+1", "CLP"),
        ("1e3", "CLP"),
        (" 1", "CLP"),
        ("1\n", "CLP"),
        ("", "CLP"),
        ("١", "CLP"),
        ("1", "clp"),
        ("1", "XAU"),  # gold has a code, and no minor unit
        ("1", "ZZZ"),
        ("9" * 13, "CLP"),
    ],
)
def test_every_other_form_is_refused(amount: str, currency: str) -> None:
    with pytest.raises(ValueError, match=r"must have exactly|ISO 4217"):
        Money.parse(amount, currency)


@given(st.integers(0, 10**11), st.sampled_from(CURRENCIES))
def test_what_is_written_is_read(minor: int, currency: str) -> None:
    money = Money(minor, currency)
    assert Money.parse(money.amount, currency) == money


def test_decimals_are_the_currencys_own() -> None:
    assert [decimals(currency) for currency in CURRENCIES] == [0, 0, 2, 2, 2, 2, 2, 3]


def test_two_currencies_do_not_add_up() -> None:
    assert Money(1, "CLP") + Money(2, "CLP") * 3 == Money(7, "CLP")
    with pytest.raises(AssertionError):
        Money(1, "CLP") + Money(1, "USD")
