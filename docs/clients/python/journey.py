"""One sale with a client that `openapi-python-client` made: token, search, hold, book, the event.

`./run` makes the client and starts this; the argument is where Holdfast answers.
"""

import sys
import time
import uuid
from datetime import UTC, date, datetime, timedelta
from http import HTTPStatus

import httpx
from holdfast_client import AuthenticatedClient
from holdfast_client.api.bookings import create_booking
from holdfast_client.api.events import list_events
from holdfast_client.api.holds import place_hold
from holdfast_client.api.search import list_offers
from holdfast_client.models import (
    BookingIn,
    BookingOut,
    ContactIn,
    EventListing,
    HoldByOffer,
    HoldOut,
    ListingOffer,
    PassengerIn,
    PassengerInType,
    PaymentIn,
    Problem,
)


def main(base_url: str) -> None:
    with AuthenticatedClient(base_url=base_url, token=token(base_url)) as client:
        offers = list_offers.sync(
            client=client,
            origin="SCL",
            destination="LIM",
            departure_date=datetime.now(UTC).date() + timedelta(days=14),
        )
        assert isinstance(offers, ListingOffer), offers
        offer = offers.data[0]
        print(f"offer    {offer.price.total.amount} {offer.price.total.currency}")

        hold = place_hold.sync(
            client=client, idempotency_key=str(uuid.uuid4()), body=HoldByOffer(offer_id=offer.id)
        )
        assert isinstance(hold, HoldOut), hold
        print(f"hold     {hold.id} for {hold.expires_in_seconds} s")

        key, wanted = str(uuid.uuid4()), order(hold)
        booked = create_booking.sync_detailed(client=client, idempotency_key=key, body=wanted)
        booking = booked.parsed
        assert isinstance(booking, BookingOut), booking
        print(f"booking  {booking.record_locator}")

        again = create_booking.sync_detailed(client=client, idempotency_key=key, body=wanted)
        assert again.headers["Idempotent-Replayed"] == "true"
        assert again.content == booked.content

        refused = create_booking.sync_detailed(
            client=client, idempotency_key=str(uuid.uuid4()), body=wanted
        )
        assert refused.status_code == HTTPStatus.CONFLICT
        assert isinstance(refused.parsed, Problem), refused.parsed
        print(f"again    {refused.parsed.code}")

        print(f"event    {event(client, booking.id)}")


def token(base_url: str) -> str:
    answer = httpx.post(
        f"{base_url}/dev/oidc/token",
        data={"grant_type": "client_credentials"},
        auth=("demo", "demo"),
    )
    access_token: str = answer.raise_for_status().json()["access_token"]
    return access_token


def order(hold: HoldOut) -> BookingIn:
    total = hold.price.total
    return BookingIn(
        hold_id=hold.id,
        passengers=[
            PassengerIn(
                type_=PassengerInType.ADT,
                given_name="Violeta",
                family_name="Parra",
                born_on=date(1990, 10, 4),
            )
        ],
        contact=ContactIn(email="violeta@example.com", phone="+56912345678"),
        payment=PaymentIn(reference="pay-1", amount=total.amount, currency=total.currency),
    )


def event(client: AuthenticatedClient, booking_id: str) -> str:
    """The type of the booking's event, which appears within seconds."""
    page = None
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        after = page.meta.after if page is not None else None
        found = list_events.sync(client=client, limit=200, **({"after": after} if after else {}))
        assert isinstance(found, EventListing), found
        page = found
        for one in page.data:
            if one.aggregate.id == booking_id:
                return one.type_
        if not page.meta.has_more:
            time.sleep(0.2)
    raise SystemExit("no event within ten seconds")


if __name__ == "__main__":
    main(sys.argv[1])
