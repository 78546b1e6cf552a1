"""The flight of the sample network that the documentation's examples are about."""

from datetime import date

from app.dev.network import services
from app.inventory.model import Flight
from app.schedule.columns import HEADER, Columns

ORIGIN, DESTINATION = "SCL", "LIM"


def example_flight(day: date) -> Flight:
    """The first of that day from Santiago to Lima, as the sample network has it."""
    service = next(
        one
        for one in services()
        if (one.origin.code, one.destination.code) == (ORIGIN, DESTINATION)
    )
    flight = Columns.of_header(",".join(HEADER)).flight(service.line(day))
    assert flight is not None, "the sample network writes no empty lines"
    return flight
