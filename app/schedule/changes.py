"""A change of limits and fares, judged against the flight it is for; pure.

A change names cabins and classes that the flight has; whatever it leaves out stays. Pointers of what
is wrong lead into the change as it was sent.
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


def changed(flight: Flight, changes: Sequence[CabinChange]) -> Flight:
    """The flight as it would be, at the version it has. Raises ValidationFailed."""
    violations: list[Violation] = []
    cabins = {cabin.cabin: cabin for cabin in flight.cabins}
    seen: set[CabinName] = set()
    for index, change in enumerate(changes):
        at = f"/cabins/{index}"
        cabin = cabins.get(change.cabin)
        if cabin is None:
            violations.append(
                _wrong(f"{at}/cabin", "unknown_class", "The flight has no such cabin.")
            )
        elif change.cabin in seen:
            violations.append(_wrong(f"{at}/cabin", "invalid", "A cabin stands here once."))
        else:
            of_cabin = list(_of_cabin(cabin, change, at))
            violations += of_cabin
            if not of_cabin:
                cabins[change.cabin] = _applied(cabin, change)
                violations += _out_of_order(cabins[change.cabin], change, at)
        seen.add(change.cabin)
    if violations:
        raise ValidationFailed(
            "The flight cannot be changed so; see errors.", violations=violations
        )
    return replace(flight, cabins=tuple(cabins[cabin.cabin] for cabin in flight.cabins))


def _of_cabin(cabin: Cabin, change: CabinChange, at: str) -> Iterator[Violation]:
    currency = cabin.booking_classes[0].fare.currency
    seen: set[str] = set()
    for index, one in enumerate(change.booking_classes):
        here = f"{at}/booking_classes/{index}"
        if cabin.position(one.booking_class) is None:
            yield _wrong(
                f"{here}/booking_class", "unknown_class", "The cabin has no such booking class."
            )
        elif one.booking_class in seen:
            yield _wrong(f"{here}/booking_class", "invalid", "A booking class stands here once.")
        seen.add(one.booking_class)
        if one.limit is not None and not 0 <= one.limit <= LIMIT_MAX:
            yield _wrong(f"{here}/limit", "out_of_range", f"A limit is from 0 to {LIMIT_MAX}.")
        if one.fare is not None and one.fare.currency != currency:
            yield _wrong(
                f"{here}/fare/currency",
                "mixed_currency",
                f"This cabin is sold in {currency}, and in nothing else.",
            )


def _applied(cabin: Cabin, change: CabinChange) -> Cabin:
    of_letter = {one.booking_class: one for one in change.booking_classes}

    def apply(fare_class: FareClass) -> FareClass:
        one = of_letter.get(fare_class.booking_class)
        if one is None:
            return fare_class
        return FareClass(
            fare_class.booking_class,
            fare_class.limit if one.limit is None else one.limit,
            one.fare or fare_class.fare,
        )

    return replace(cabin, booking_classes=tuple(map(apply, cabin.booking_classes)))


def _out_of_order(cabin: Cabin, change: CabinChange, at: str) -> Iterator[Violation]:
    sent = {
        one.booking_class: index
        for index, one in enumerate(change.booking_classes)
        if one.fare is not None
    }
    for above, below in pairwise(cabin.booking_classes):
        if below.fare.minor > above.fare.minor:
            index = sent.get(below.booking_class, sent.get(above.booking_class))
            yield _wrong(
                f"{at}/booking_classes/{index}/fare",
                "invalid",
                f"Class {below.booking_class} would cost more than {above.booking_class} above it; "
                "classes go from the highest fare down.",
            )


def _wrong(at: str, code: str, detail: str) -> Violation:
    return Violation("pointer", at, code, detail)
