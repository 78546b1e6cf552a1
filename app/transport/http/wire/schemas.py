"""Schemas that several routes share, and their conversion from domain values.

Inputs forbid unknown members and do not coerce types (neither `true` nor `"1"` is a number); outputs have
every member. No schema is both. Validators raise `refuse(...)`, which never repeats the input.
"""

import re
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Generic, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StrictInt,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from app import money
from app.clock import instant_text
from app.inventory import itinerary
from app.inventory.itinerary import SEATS_MAX, PassengerCounts, PassengerType
from app.inventory.model import CabinName, LocalTime
from app.transport.http.problems.violations import refuse

T = TypeVar("T")

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MONTH = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")
_LOCAL = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}")


class Input(BaseModel):
    """What a client sends. Unknown members are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Output(BaseModel):
    """What a client receives. Every member is always present."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)


def duration_text(duration: timedelta) -> str:
    """ISO 8601 in hours and minutes: PT4H5M, or PT26H for more than a day."""
    hours, minutes = divmod(int(duration.total_seconds()) // 60, 60)
    parts = (f"{hours}H" if hours else "") + (f"{minutes}M" if minutes or not hours else "")
    return "PT" + parts


def _day(value: object) -> object:
    if isinstance(value, str) and _DAY.fullmatch(value) is None:
        raise refuse("invalid", "must be a date such as 2026-12-10")
    if isinstance(value, str | date):
        return value
    raise refuse("wrong_type", "must be a date such as 2026-12-10")


def _month(value: object) -> object:
    is_month = isinstance(value, str) and _MONTH.fullmatch(value) is not None
    if not is_month or str(value) < "0001":
        raise refuse("invalid", "must be a month such as 2026-12")
    return date.fromisoformat(f"{value}-01")


def _local(value: object) -> object:
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or _LOCAL.fullmatch(value) is None:
        raise refuse("invalid", "must be a local time such as 2026-12-10T08:30:00")
    return value


Instant = Annotated[
    datetime,
    PlainSerializer(instant_text, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
Day = Annotated[date, BeforeValidator(_day), WithJsonSchema({"type": "string", "format": "date"})]
Month = Annotated[
    date,
    BeforeValidator(_month),
    WithJsonSchema({"type": "string", "pattern": f"^{_MONTH.pattern}$"}),
]
"""The first day of the month."""
LocalDateTime = Annotated[
    datetime,
    BeforeValidator(_local),
    PlainSerializer(lambda local: local.isoformat(timespec="seconds"), return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^{_LOCAL.pattern}$"}),
]
"""A local time without a zone, to the second."""
Station = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
BookingClassCode = Annotated[str, StringConstraints(pattern=r"^[A-Z]$")]
ClientReference = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Count = Annotated[StrictInt, Field(ge=0, le=SEATS_MAX)]


class MoneyIn(Input):
    """A decimal string with exactly the decimals of the currency."""

    amount: Annotated[str, StringConstraints(min_length=1, max_length=17)]
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]

    @model_validator(mode="after")
    def _exact(self) -> Self:
        self.value()
        return self

    def value(self) -> money.Money:
        return money.Money.parse(self.amount, self.currency)


class Money(Output):
    amount: str = Field(examples=["12990"])
    currency: str = Field(examples=["CLP"])


class Time(Output):
    local: LocalDateTime
    time_zone: str = Field(examples=["America/Santiago"])
    utc: Instant


class CountsIn(Input):
    """1 to 9 adults and children in total; each infant travels on the lap of its own adult."""

    ADT: Count = 0
    CHD: Count = 0
    INF: Count = 0

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_counts(self.ADT, self.CHD, self.INF)
        return self

    def value(self) -> PassengerCounts:
        return PassengerCounts(self.ADT, self.CHD, self.INF)


class Counts(Output):
    ADT: int
    CHD: int
    INF: int


class Segment(Output):
    flight_id: str
    carrier: str
    flight_number: str
    origin: str
    destination: str
    departing_at: Time
    arriving_at: Time
    duration: str = Field(examples=["PT4H5M"])
    cabin: CabinName
    booking_class: str
    fare: Money


class PassengerPrice(Output):
    type: PassengerType
    count: int
    each: Money


class Price(Output):
    total: Money
    passengers: list[PassengerPrice]


class Meta(Output):
    after: str | None
    has_more: bool


class Listing(Output, Generic[T]):
    data: list[T]
    meta: Meta


class ProblemEntry(Output):
    """One violation. Exactly one of `pointer`, `parameter` and `header` says where."""

    model_config = ConfigDict(extra="allow")

    pointer: str | None = Field(default=None, description="JSON pointer into the body (RFC 6901).")
    parameter: str | None = None
    header: str | None = None
    code: str
    detail: str


class Problem(Output):
    """RFC 9457. Further members depend on `code`."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    request_id: str
    retryable: bool
    retry_after_seconds: int | None = None
    errors: list[ProblemEntry] | None = None


class Readiness(Output):
    status: Literal["ok", "unavailable"]
    checks: dict[str, str]


def check_counts(adults: int, children: int, infants: int) -> None:
    if not 1 <= adults + children <= SEATS_MAX:
        raise refuse("out_of_range", f"adults and children must be 1 to {SEATS_MAX} in total")
    if infants > adults:
        raise refuse("out_of_range", "must not have more infants than adults")


def money_out(value: money.Money) -> Money:
    return Money(amount=value.amount, currency=value.currency)


def time_out(value: LocalTime) -> Time:
    return Time(local=value.local, time_zone=value.time_zone, utc=value.utc)


def counts_out(value: PassengerCounts) -> Counts:
    return Counts(ADT=value.adults, CHD=value.children, INF=value.infants)


def segment_out(value: itinerary.Segment) -> Segment:
    return Segment(**segment_members(value))


def segment_members(value: itinerary.Segment) -> dict[str, Any]:
    """For schemas that extend Segment."""
    return {
        "flight_id": value.flight_id,
        "carrier": value.carrier,
        "flight_number": value.flight_number,
        "origin": value.origin,
        "destination": value.destination,
        "departing_at": time_out(value.departing_at),
        "arriving_at": time_out(value.arriving_at),
        "duration": duration_text(value.arriving_at.utc - value.departing_at.utc),
        "cabin": value.cabin,
        "booking_class": value.booking_class,
        "fare": money_out(value.fare),
    }


def price_out(value: itinerary.Price) -> Price:
    return Price(
        total=money_out(value.total),
        passengers=[
            PassengerPrice(type=line.type, count=line.count, each=money_out(line.each))
            for line in value.passengers
        ],
    )


def listing(data: Iterable[T], after: str | None) -> Listing[T]:
    """`after` is the cursor of the next page; None on the last page."""
    return Listing[Any](data=list(data), meta=Meta(after=after, has_more=after is not None))
