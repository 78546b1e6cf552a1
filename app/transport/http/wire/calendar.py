"""The calendar and the routes on the wire: where and when there is anything to sell."""

from collections.abc import Sequence

from pydantic import Field

from app.search import model
from app.transport.http.wire.schemas import Day, Money, Output, money_out


class CalendarDay(Output):
    date: Day
    open: bool = Field(description="Whether one adult can hold anything in economy on that date.")
    lowest_price: Money | None = Field(description="Of one adult; null where nothing is open.")


class Calendar(Output):
    """Every day of the month, by the calendar of the origin."""

    data: list[CalendarDay]


class Route(Output):
    origin: str = Field(examples=["SCL"])
    destination: str = Field(examples=["LIM"])
    first_departure_date: Day = Field(description="Of those to come, by the origin's calendar.")
    last_departure_date: Day


def calendar_out(days: Sequence[model.CalendarDay]) -> Calendar:
    return Calendar(
        data=[
            CalendarDay(
                date=one.day,
                open=one.lowest_price is not None,
                lowest_price=None if one.lowest_price is None else money_out(one.lowest_price),
            )
            for one in days
        ]
    )


def route_out(route: model.Route) -> Route:
    return Route(
        origin=route.origin,
        destination=route.destination,
        first_departure_date=route.first_departure_date,
        last_departure_date=route.last_departure_date,
    )
