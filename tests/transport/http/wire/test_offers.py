"""A page of offers equals the JSON of its schema, and its tag covers all that is offered."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from app.inventory.itinerary import PassengerCounts, Segment, price
from app.search.model import Offer, OfferedSegment, Slice
from app.transport.http.wire.offers import offer_out, offers_page
from app.transport.http.wire.schemas import listing
from tests.transport.http.wire.test_rendering import ANY_TEXT, segments

MADE = datetime(2027, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)


@st.composite
def pages(draw: st.DrawFn) -> list[Offer]:
    """One way or there and back, connected or not; most share flights, as those of a search do."""
    currency = draw(st.sampled_from(("CLP", "USD", "KWD")))
    flown = draw(st.lists(segments(currency), min_size=1, max_size=4))
    named = [replace(one, carrier=draw(ANY_TEXT), flight_number=draw(ANY_TEXT)) for one in flown]
    offered = [OfferedSegment(one, draw(st.integers(1, 9))) for one in named]
    legs = st.lists(st.sampled_from(offered), min_size=1, max_size=2).map(tuple)
    ways = draw(st.lists(legs.map(Slice), min_size=1, max_size=3))
    passengers = PassengerCounts(
        draw(st.integers(1, 4)), draw(st.integers(0, 4)), draw(st.integers(0, 1))
    )
    there_and_back = st.lists(st.sampled_from(ways), min_size=1, max_size=2)
    return [
        offer(f"off_{number}", passengers, tuple(slices))
        for number, slices in enumerate(draw(st.lists(there_and_back, max_size=5)))
    ]


def offer(offer_id: str, passengers: PassengerCounts, slices: tuple[Slice, ...]) -> Offer:
    flown = [one.segment for way in slices for one in way.segments]
    return Offer(offer_id, MADE, passengers, slices, price(flown, passengers))


@given(pages(), st.none() | ANY_TEXT)
def test_a_page_is_rendered_as_its_schema_renders_it(
    offers: list[Offer], after: str | None
) -> None:
    expected = listing(map(offer_out, offers), after).model_dump_json()
    assert offers_page(["asked"], offers, after).body == expected.encode()


@given(segments("CLP"))
def test_the_tag_is_of_all_but_the_ids(segment: Segment) -> None:
    way = Slice((OfferedSegment(segment, 4),))
    one = offer("off_a", PassengerCounts(1), (way,))

    def tag(offer: Offer, asked: str = "this", after: str | None = None) -> str:
        return offers_page([asked], [offer], after).tag

    assert tag(replace(one, offer_id="off_b")) == tag(one)
    assert tag(replace(one, expires_at=MADE + timedelta(seconds=9))) == tag(one)
    fewer = replace(one, slices=(Slice((replace(way.segments[0], seats_left=3),)),))
    dearer = replace(one, price=price([way.segments[0].segment] * 2, PassengerCounts(1)))
    aged = replace(one, expires_at=MADE + timedelta(minutes=5))
    others = [tag(fewer), tag(aged), tag(one, asked="that"), tag(one, after="more")]
    if dearer.price != one.price:
        others.append(tag(dearer))
    assert len({tag(one), *others}) == 1 + len(others)
