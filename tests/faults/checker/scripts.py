"""Scripts for the correct seller: the steps of its clients, and the fate of each request."""

from random import Random
from typing import Final

from hypothesis import strategies as st

from tests.faults.checker.seller import ANSWERED, DROPPED, LOST, NEVER_SENT, Seller
from tests.faults.history import OK, Operation

Step = tuple[str, int, str]

ACTIONS: Final = (
    "hold",
    "hold",
    "hold",
    "book",
    "book",
    "again",
    "other",
    "extend",
    "release",
    "cancel",
    "look",
    "wait",
)
FATES: Final = (ANSWERED, ANSWERED, ANSWERED, ANSWERED, LOST, DROPPED, NEVER_SENT)
FLIGHTS: Final = {"flt_a": (("Y", 5), ("M", 3)), "flt_b": (("Y", 4),)}
STEPS: Final = st.tuples(st.sampled_from(ACTIONS), st.integers(0, 999), st.sampled_from(FATES))


def drawn(seed: int, count: int, fates: tuple[str, ...] = FATES) -> list[Step]:
    chance = Random(seed)
    return [
        (chance.choice(ACTIONS), chance.randrange(1000), chance.choice(fates)) for _ in range(count)
    ]


def play(steps: list[Step]) -> Seller:
    seller = Seller(FLIGHTS)
    for action, number, fate in steps:
        _step(seller, action, number, fate)
    return seller


def _step(seller: Seller, action: str, number: int, fate: str) -> None:
    holds = _answered(seller, "hold")
    bookings = _answered(seller, "book")
    held = str((holds[number % len(holds)].answer or {})["id"]) if holds else ""
    match action:
        case "hold":
            flights = [[("flt_a", "Y")], [("flt_a", "M")], [("flt_b", "Y")]]
            choices = [*flights, [("flt_a", "M"), ("flt_b", "Y")]][number % 4]
            seller.hold(choices, 1 + number % 3, fate=fate)
        case "book" if held:
            seller.book(held, fate=fate)
        case "extend" if held:
            seller.extend(held, fate=fate)
        case "release" if held and number % 2:
            seller.release(held, fate=fate)
        case "cancel" if bookings and number % 2:
            booking = str((bookings[number % len(bookings)].answer or {})["id"])
            seller.cancel(booking, key=None if number % 3 else f"c{number}", fate=fate)
            seller.get_booking(booking)
        case "look":
            seller.availability("flt_a")
            seller.events()
            if held:
                seller.get_hold(held)
        case "wait":
            seller.wait(number % 80 / 10)
        case "again" | "other":
            _again(seller, number, fate, other=action == "other")


def _again(seller: Seller, number: int, fate: str, *, other: bool) -> None:
    """Repeat the request, or send another one with its key."""
    known = [one for one in seller.history.operations() if one.kind in ("hold", "book")]
    if not known:
        return
    one = known[number % len(known)]
    key = one.key or ""
    if one.kind == "book":
        seller.book(str(one.subject), key=key, fate=fate)
        return
    choices = [(each["flight_id"], each["booking_class"]) for each in one.request["segments"]]
    seller.hold(choices, one.request["passengers"]["ADT"] + other, key=key, fate=fate)


def _answered(seller: Seller, kind: str) -> list[Operation]:
    return [one for one in seller.history.operations() if one.kind == kind and one.outcome == OK]
