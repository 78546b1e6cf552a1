"""Changes of limits and fares, judged against a flight."""

import pytest

from app.errors import ValidationFailed
from app.inventory.model import CabinName
from app.money import Money
from app.schedule.changes import CabinChange, ClassChange, with_changes
from tests.builders.flights import flight

ECONOMY = CabinName.ECONOMY


def _refused(*changes: CabinChange) -> list[tuple[str, str]]:
    with pytest.raises(ValidationFailed) as refused:
        with_changes(flight(), changes)
    return [(violation.at, violation.code) for violation in refused.value.violations]


def _economy(*classes: ClassChange) -> CabinChange:
    return CabinChange(ECONOMY, classes)


def test_what_is_left_out_stays() -> None:
    (cabin,) = with_changes(flight(), [_economy(ClassChange("M", limit=2))]).cabins
    assert [(one.booking_class, one.limit) for one in cabin.booking_classes] == [
        ("Y", 10),
        ("M", 2),
    ]
    assert [one.fare.minor for one in cabin.booking_classes] == [129_900, 89_900]


def test_both_fares_can_rise_together() -> None:
    dear = Money(200_000, "CLP")
    (cabin,) = with_changes(
        flight(), [_economy(ClassChange("M", fare=dear), ClassChange("Y", fare=dear))]
    ).cabins
    assert [one.fare for one in cabin.booking_classes] == [dear, dear]


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        (CabinChange(CabinName.FIRST, ()), ("/cabins/0/cabin", "unknown_class")),
        (
            _economy(ClassChange("Q", limit=1)),
            ("/cabins/0/booking_classes/0/booking_class", "unknown_class"),
        ),
        (
            _economy(ClassChange("M"), ClassChange("M")),
            ("/cabins/0/booking_classes/1/booking_class", "invalid"),
        ),
        (
            _economy(ClassChange("Y", limit=10_000)),
            ("/cabins/0/booking_classes/0/limit", "out_of_range"),
        ),
        (
            _economy(ClassChange("Y", fare=Money(1, "USD"))),
            ("/cabins/0/booking_classes/0/fare/currency", "mixed_currency"),
        ),
        (
            _economy(ClassChange("M", fare=Money(129_901, "CLP"))),
            ("/cabins/0/booking_classes/0/fare", "invalid"),
        ),
        (  # the one that was sent is named, be it above or below
            _economy(ClassChange("M", limit=1), ClassChange("Y", fare=Money(89_899, "CLP"))),
            ("/cabins/0/booking_classes/1/fare", "invalid"),
        ),
    ],
)
def test_a_wrong_change_is_named_with_its_place(
    change: CabinChange, refusal: tuple[str, str]
) -> None:
    assert _refused(change) == [refusal]


def test_a_cabin_stands_in_a_change_once() -> None:
    assert _refused(_economy(), _economy()) == [("/cabins/1/cabin", "invalid")]
