"""Money: whole minor units and an ISO 4217 currency; never a float.

In JSON `{"amount": "12990", "currency": "CLP"}`: a decimal string with exactly the currency's
decimals (CLP and PYG have none).
"""

import re
from dataclasses import dataclass
from functools import cache

import iso4217

_AMOUNT = re.compile(r"(?P<units>0|[1-9][0-9]{0,11})(?:\.(?P<decimals>[0-9]{1,4}))?")


@cache  # one entry for each currency of ISO 4217: about 180
def decimals(currency: str) -> int:
    """How many decimals the currency has; ValueError if it is not in ISO 4217."""
    exponent = iso4217.Currency(currency).exponent
    if exponent is None:
        raise ValueError(f"{currency} has no minor unit")
    return int(exponent)


@dataclass(frozen=True, slots=True)
class Money:
    minor: int  # in the currency's smallest unit: cents of USD, pesos of CLP
    currency: str

    @classmethod
    def parse(cls, amount: str, currency: str) -> "Money":
        """Accepts the exact form only; raises ValueError with a message for the client otherwise."""
        try:
            places = decimals(currency)
        except ValueError:
            raise ValueError("currency must be an ISO 4217 code such as CLP or USD") from None
        match = _AMOUNT.fullmatch(amount)
        if match is None or len(match["decimals"] or "") != places:
            example = "12990" if places == 0 else "129." + "90000"[:places]
            raise ValueError(
                f"amount in {currency} must have exactly {places} decimals, such as {example}"
            )
        return cls(int(match["units"] + (match["decimals"] or "")), currency)

    @property
    def amount(self) -> str:
        places = decimals(self.currency)
        if places == 0:
            return str(self.minor)
        units, rest = divmod(self.minor, 10**places)
        return f"{units}.{rest:0{places}d}"

    def __add__(self, other: "Money") -> "Money":
        assert self.currency == other.currency, "a sum of two currencies has no meaning"
        return Money(self.minor + other.minor, self.currency)

    def __mul__(self, count: int) -> "Money":
        return Money(self.minor * count, self.currency)
