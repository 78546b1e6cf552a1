"""A change of a flight's limits and fares, validated against that flight. Pure.

A change names cabins and classes of the flight; what it does not name keeps its value. Each violation has
a pointer into the request body.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from app.errors import ValidationFailed, Violation
from app.inventory.model import Cabin, CabinName, FareClass, Flight
from app.money import Money
from app.schedule.model import LIMIT_MAX


@dataclass(frozen=True, slots=True)
class ClassChange:
    booking_class: str
    limit: int | None = None
    fare: Money | None = None


@dataclass(frozen=True, slots=True)
class CabinChange:
    cabin: CabinName
    booking_classes: tuple[ClassChange, ...]


def with_changes(flight: Flight, changes: Sequence[CabinChange]) -> Flight:
    """The flight with the changes applied; its version stays. Raises ValidationFailed."""
    violations: list[Violation] = []
    cabins = {cabin.cabin: cabin for cabin in flight.cabins}
    seen: set[CabinName] = set()
    for index, change in enumerate(changes):
        at = f"/cabins/{index}"
        cabin = cabins.get(change.cabin)
        if cabin is None:
            violations.append(
                _violation(f"{at}/cabin", "unknown_class", "The flight does not have this cabin.")
            )
        elif change.cabin in seen:
            violations.append(
                _violation(f"{at}/cabin", "invalid", "A cabin must not be listed twice.")
            )
        else:
            of_cabin = list(_class_violations(cabin, change, at))
            violations += of_cabin
            if not of_cabin:
                cabins[change.cabin] = _apply(cabin, change)
                violations += _fare_order_violations(cabins[change.cabin], change, at)
        seen.add(change.cabin)
    if violations:
        raise ValidationFailed("The change is not valid; see `errors`.", violations=violations)
    return replace(flight, cabins=tuple(cabins[cabin.cabin] for cabin in flight.cabins))


def _class_violations(cabin: Cabin, change: CabinChange, at: str) -> Iterator[Violation]:
    currency = cabin.booking_classes[0].fare.currency
    seen: set[str] = set()
    for index, one in enumerate(change.booking_classes):
        here = f"{at}/booking_classes/{index}"
        if cabin.position(one.booking_class) is None:
            yield _violation(
                f"{here}/booking_class",
                "unknown_class",
                "The cabin does not have this booking class.",
            )
        elif one.booking_class in seen:
            yield _violation(
                f"{here}/booking_class", "invalid", "A booking class must not be listed twice."
            )
        seen.add(one.booking_class)
        if one.limit is not None and not 0 <= one.limit <= LIMIT_MAX:
            yield _violation(
                f"{here}/limit", "out_of_range", f"The limit must be between 0 and {LIMIT_MAX}."
            )
        if one.fare is not None and one.fare.currency != currency:
            yield _violation(
                f"{here}/fare/currency",
                "mixed_currency",
                f"All fares of a cabin have one currency; here it is {currency}.",
            )


def _apply(cabin: Cabin, change: CabinChange) -> Cabin:
    of_letter = {one.booking_class: one for one in change.booking_classes}

    def apply_to_class(fare_class: FareClass) -> FareClass:
        one = of_letter.get(fare_class.booking_class)
        if one is None:
            return fare_class
        return FareClass(
            fare_class.booking_class,
            fare_class.limit if one.limit is None else one.limit,
            one.fare or fare_class.fare,
        )

    return replace(cabin, booking_classes=tuple(map(apply_to_class, cabin.booking_classes)))


def _fare_order_violations(cabin: Cabin, change: CabinChange, at: str) -> Iterator[Violation]:
    sent = {
        one.booking_class: index
        for index, one in enumerate(change.booking_classes)
        if one.fare is not None
    }
    for above, below in pairwise(cabin.booking_classes):
        if below.fare.minor > above.fare.minor:
            index = sent.get(below.booking_class, sent.get(above.booking_class))
            yield _violation(
                f"{at}/booking_classes/{index}/fare",
                "invalid",
                f"Class {below.booking_class} must not cost more than class "
                f"{above.booking_class}: classes are ordered from the highest fare down.",
            )


def _violation(at: str, code: str, detail: str) -> Violation:
    return Violation("pointer", at, code, detail)
