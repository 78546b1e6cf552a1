"""Expected failures of keeping seats."""

from collections.abc import Sequence
from typing import Any, Final

from app.clock import instant_text
from app.errors import DomainError, ErrorKind, NotFound, Violation
from app.hold.model import ClassChoice, Full, JournalState
from app.inventory.itinerary import Price
from app.money import Money

BOOKED: Final = "The hold has become a booking."


class SoldOut(DomainError):
    kind = ErrorKind.CONFLICT
    code = "sold_out"
    title = "Not enough seats"

    @classmethod
    def of(
        cls, choices: Sequence[ClassChoice], seats: int, full: Full, *, by_offer: bool
    ) -> "SoldOut":
        """Names every segment that falls short, and when held seats come free at the earliest."""
        short = [
            Violation(
                "pointer",
                "/offer_id" if by_offer else f"/segments/{index}",
                cls.code,
                f"{_counted(seats, 'seat')} asked for, {open_seats} open in class {choice.booking_class}.",
                facts={
                    "flight_id": choice.flight_id,
                    "booking_class": choice.booking_class,
                    "requested": seats,
                    "open": open_seats,
                },
            )
            for index, (choice, open_seats) in enumerate(zip(choices, full.open_seats, strict=True))
            if open_seats < seats
        ]
        at = full.next_release_at
        return cls(
            "Not all segments have the seats asked for; nothing was held.",
            violations=short,
            facts={"next_release_at": None if at is None else instant_text(at)},
        )


class PriceChanged(DomainError):
    kind = ErrorKind.CONFLICT
    code = "price_changed"
    title = "The price is another one now"

    def __init__(self, price: Price) -> None:
        super().__init__(
            "The offer's price no longer stands; hold at the new one or search again.",
            facts={"price": _price(price)},
        )


class NotForSale(DomainError):
    kind = ErrorKind.CONFLICT
    code = "not_for_sale"
    title = "The flight has left"


class HoldNotActive(DomainError):
    kind = ErrorKind.CONFLICT
    code = "hold_not_active"
    title = "The hold is booked or released"


class ExtensionLimitReached(DomainError):
    kind = ErrorKind.CONFLICT
    code = "extension_limit_reached"
    title = "The hold was extended before"

    def __init__(self) -> None:
        super().__init__("A hold is extended once.")


class HoldExpired(DomainError):
    kind = ErrorKind.GONE
    code = "hold_expired"
    title = "The hold has ended"

    def __init__(self) -> None:
        super().__init__("The hold ran out and its seats are free again; make a new one.")


class OfferExpired(DomainError):
    kind = ErrorKind.GONE
    code = "offer_expired"
    title = "The offer has ended"

    def __init__(self, detail: str = "An offer stands for 20 minutes; search again.") -> None:
        super().__init__(detail)


def no_such_hold() -> NotFound:
    """Also the answer for another tenant's hold: a tenant learns nothing of those."""
    return NotFound("There is no such hold.")


def refusal_of(state: JournalState | None) -> DomainError | None:
    """Why a hold in this state of the journal can be neither booked nor extended; None where it can.

    `state` None: the journal has no such hold.
    """
    match state:
        case JournalState.HELD:
            return None
        case JournalState.CONFIRMED:
            return HoldNotActive(BOOKED)
        case JournalState.RELEASED:
            return HoldNotActive("The hold was released.")
        case JournalState.EXPIRED:
            return HoldExpired()
        case JournalState.ABORTED | None:
            return no_such_hold()


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _price(price: Price) -> dict[str, Any]:
    """As in every answer: facts of a refusal are JSON values already."""
    lines = [
        {"type": line.type, "count": line.count, "each": _money(line.each)}
        for line in price.passengers
    ]
    return {"total": _money(price.total), "passengers": lines}


def _money(money: Money) -> dict[str, str]:
    return {"amount": money.amount, "currency": money.currency}
