"""A month at a glance: its days, and what the cheapest of a day costs; pure."""

from calendar import monthrange
from collections.abc import Iterable
from datetime import date

from app.money import Money
from app.search.model import Quote


def days_of_month(first: date) -> list[date]:
    _, count = monthrange(first.year, first.month)
    return [first.replace(day=number) for number in range(1, count + 1)]


def lowest_price(quotes: Iterable[Quote]) -> Money | None:
    """Amounts of two currencies cannot be compared: the currency that comes first says."""
    totals = (one.price.total for one in quotes)
    return min(totals, key=lambda total: (total.currency, total.minor), default=None)
