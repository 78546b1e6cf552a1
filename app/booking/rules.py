"""What a booking's content has to be: pure judgements about texts, ages, counts and amounts.

No message here quotes what was sent: names, addresses and dates of birth stay where they are.
"""

import re
import unicodedata
from collections.abc import Iterator
from datetime import date, datetime, timedelta

import phonenumbers
from email_validator import EmailNotValidError, validate_email

from app.booking.model import BookingRequest, Passenger, counted
from app.errors import ValidationFailed, Violation
from app.inventory.itinerary import PassengerCounts, PassengerType, Price, Segment

FOLDED_MAX = 256  # characters; one ligature can fold into eighteen letters
_PHONE = re.compile(r"\+[1-9][0-9]{6,14}")
_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})  # controls, surrogates, line separators
_STROKES = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "ħ": "h", "ŧ": "t", "ı": "i"}
    | {"æ": "ae", "œ": "oe", "þ": "th"}
)  # letters that no decomposition reduces to a plain one
_AHEAD_OF_UTC = timedelta(hours=14)  # where the day begins first
_AGES: dict[PassengerType, tuple[int, int, str]] = {
    "INF": (0, 1, "An infant is under 2 on the day of the first departure."),
    "CHD": (2, 11, "A child is 2 to 11 on the day of the first departure."),
    "ADT": (12, 9999, "An adult is 12 or older on the day of the first departure."),
}


def checked_name(text: str) -> str:
    """The name as it was sent; ValueError where it is blank or cannot be printed."""
    if any(unicodedata.category(character) in _UNPRINTABLE for character in text):
        raise ValueError("A name holds no control characters.")
    if not folded(text):
        raise ValueError("A name is not blank.")
    return text


def normal_email(text: str) -> str:
    """ValueError where it is not an address; whether it receives mail is not checked."""
    try:
        return validate_email(text, check_deliverability=False).normalized
    except EmailNotValidError:
        raise ValueError("This takes an email address such as ana@example.com.") from None


def normal_phone(text: str) -> str:
    """E.164: a plus, the country's code and the number, digits only."""
    refusal = "This takes a phone number in the form of E.164, such as +56912345678."
    if _PHONE.fullmatch(text) is None:
        raise ValueError(refusal)
    try:
        number = phonenumbers.parse(text)
    except phonenumbers.NumberParseException:
        raise ValueError(refusal) from None
    if not phonenumbers.is_possible_number(number):  # plans of numbers change; lengths rarely do
        raise ValueError(refusal)
    return text


def folded(name: str) -> str:
    """The name without case, accents and spare blanks, for comparing and nothing else."""
    plain = _decomposed(_decomposed(name).casefold())
    bare = "".join(c for c in plain if not unicodedata.combining(c)).casefold()
    return " ".join(bare.translate(_STROKES).split())[:FOLDED_MAX]


def check(
    request: BookingRequest,
    counts: PassengerCounts,
    price: Price,
    segments: tuple[Segment, ...],
    now: datetime,
) -> None:
    """Raises ValidationFailed with everything in the request that the hold's promise speaks against."""
    wrong = [
        *_counts_that_differ(request.passengers, counts),
        *_ages_that_differ(request.passengers, segments[0].departing_at.local.date(), now),
    ]
    if request.payment.amount != price.total:
        detail = f"The held price is {price.total.amount} {price.total.currency}."
        wrong.append(Violation("pointer", "/payment/amount", "amount_mismatch", detail))
    if wrong:
        raise ValidationFailed("The booking does not fit its hold; see errors.", violations=wrong)


def age_on(day: date, born_on: date) -> int:
    """Whole years; negative before birth. A person born on 29 February is a year older on 1 March."""
    birthday_is_ahead = (day.month, day.day) < (born_on.month, born_on.day)
    return day.year - born_on.year - birthday_is_ahead


def _decomposed(text: str) -> str:
    return unicodedata.normalize("NFKD", text)


def _counts_that_differ(
    passengers: tuple[Passenger, ...], counts: PassengerCounts
) -> Iterator[Violation]:
    if counted(passengers) != counts:
        held = ", ".join(f"{count} {type_}" for type_, count in counts.to_json().items())
        yield Violation(
            "pointer", "/passengers", "passenger_count_mismatch", f"The hold is for {held}."
        )


def _ages_that_differ(
    passengers: tuple[Passenger, ...], departure: date, now: datetime
) -> Iterator[Violation]:
    today = (now + _AHEAD_OF_UTC).date()
    for index, passenger in enumerate(passengers):
        at = f"/passengers/{index}/born_on"
        youngest, oldest, rule = _AGES[passenger.type]
        if passenger.born_on > today:
            yield Violation("pointer", at, "out_of_range", "A passenger is born already.")
        elif not youngest <= age_on(departure, passenger.born_on) <= oldest:
            yield Violation("pointer", at, "age_mismatch", rule)
