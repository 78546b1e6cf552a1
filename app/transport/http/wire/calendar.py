"""Schemas of the calendar and of routes."""

from collections.abc import Sequence

from pydantic import Field

from app.search import model
from app.transport.http.wire.schemas import Day, Money, Output, money_out


class CalendarDay(Output):
    date: Day
    open: bool = Field(description="Whether one adult can hold a seat in economy on that date.")
    lowest_price: Money | None = Field(description="For one adult; null if nothing is open.")


class Calendar(Output):
    """Every day of the month, in local dates of the origin."""

    data: list[CalendarDay]


class Route(Output):
    origin: str = Field(examples=["SCL"])
    destination: str = Field(examples=["LIM"])
    first_departure_date: Day = Field(
        description="Of future departures, in local dates of the origin."
    )
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
