"""Schema of the availability of a flight: open seats, and exact numbers for administrators."""

from collections.abc import Mapping
from datetime import datetime

from pydantic import Field

from app.inventory.model import (
    SEATS_SHOWN_MAX,
    Cabin,
    CabinCounts,
    CabinName,
    ClassStatus,
    Flight,
)
from app.transport.http.wire.schemas import Instant, Output


class ClassAvailability(Output):
    booking_class: str = Field(examples=["Y"])
    open: int = Field(ge=0, le=SEATS_SHOWN_MAX, description="9 means nine or more.")
    status: ClassStatus = Field(
        description="`held_out`: none now, more if live holds are released or expire."
    )


class ExactClassAvailability(ClassAvailability):
    """For callers with inventory:admin."""

    limit: int = Field(description="The most seats to sell in this class and all below it.")
    sold: int
    held: int


class CabinAvailability(Output):
    cabin: CabinName
    booking_classes: list[ExactClassAvailability | ClassAvailability]


class Availability(Output):
    flight_id: str
    as_of: Instant
    cabins: list[CabinAvailability]


def availability_out(
    flight: Flight,
    counts: Mapping[CabinName, CabinCounts],
    as_of: datetime,
    *,
    exact: bool,
) -> Availability:
    """`counts` has every cabin of the flight, in the class order of the flight."""
    return Availability(
        flight_id=flight.flight_id,
        as_of=as_of,
        cabins=[
            CabinAvailability(
                cabin=cabin.cabin,
                booking_classes=_classes_out(cabin, counts[cabin.cabin], exact=exact),
            )
            for cabin in flight.cabins
        ],
    )


def _classes_out(
    cabin: Cabin, counts: CabinCounts, *, exact: bool
) -> list[ExactClassAvailability | ClassAvailability]:
    opened, statuses = counts.open, counts.statuses
    classes: list[ExactClassAvailability | ClassAvailability] = []
    for index, fare_class in enumerate(cabin.booking_classes):
        shown = ClassAvailability(
            booking_class=fare_class.booking_class,
            open=min(opened[index], SEATS_SHOWN_MAX),
            status=statuses[index],
        )
        if exact:
            shown = ExactClassAvailability(
                **shown.model_dump(),
                limit=counts.limits[index],
                sold=counts.sold[index],
                held=counts.held[index],
            )
        classes.append(shown)
    return classes
