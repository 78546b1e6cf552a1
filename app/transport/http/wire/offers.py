"""Offers on the wire: their schema, and a page of them straight to JSON.

A page is put together from parts. What offers share is rendered once a page: a flight's segment, a way, a
price. The rest of an offer is its id, which is another one each time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from pydantic import Field

from app.clock import instant_text
from app.inventory.model import SEATS_SHOWN_MAX
from app.search import model
from app.transport.http.wire import etags
from app.transport.http.wire.rendering import counts_json, price_json, segment_json, text_json
from app.transport.http.wire.schemas import (
    Counts,
    Instant,
    Output,
    Price,
    Segment,
    counts_out,
    duration_text,
    price_out,
    segment_members,
)

T = TypeVar("T")

_TAG_LASTS_SECONDS = 300


class OfferedSegment(Segment):
    seats_left: int = Field(
        ge=1, le=SEATS_SHOWN_MAX, description="In this class; 9 stands for nine or more."
    )


class Slice(Output):
    origin: str
    destination: str
    duration: str = Field(examples=["PT4H5M"])
    segments: list[OfferedSegment]


class Offer(Output):
    """Can be held at this price until `expires_at`, as long as there are seats."""

    id: str = Field(description="Carries the offer itself; up to 2,048 characters.")
    expires_at: Instant
    passengers: Counts
    slices: list[Slice]
    price: Price


class SupersedingOffer(Offer):
    """The same seats at their price of now."""

    supersedes: str = Field(description="The id that was asked for; its price no longer stands.")


def offer_out(offer: model.Offer) -> SupersedingOffer | Offer:
    plain = Offer(
        id=offer.offer_id,
        expires_at=offer.expires_at,
        passengers=counts_out(offer.passengers),
        slices=[_slice_out(one) for one in offer.slices],
        price=price_out(offer.price),
    )
    if offer.supersedes is None:
        return plain
    return SupersedingOffer(**dict(plain), supersedes=offer.supersedes)


def _slice_out(value: model.Slice) -> Slice:
    return Slice(
        origin=value.first.origin,
        destination=value.last.destination,
        duration=duration_text(value.duration),
        segments=[
            OfferedSegment(**segment_members(one.segment), seats_left=one.seats_left)
            for one in value.segments
        ],
    )


@dataclass(frozen=True, slots=True)
class OffersPage:
    body: bytes
    tag: str


def offers_page(
    asked: Sequence[object], offers: Sequence[model.Offer], after: str | None
) -> OffersPage:
    """The body is as the schema renders `listing(map(offer_out, offers), after)`, to the byte.

    The tag is of what is offered, not of the ids, which are others each time. Every few minutes it is
    another one, so that an offer which was kept can be held for most of its time.
    """
    once = _Once()
    terms = [_terms(one, once) for one in offers]
    data = [
        f'{{"id":"{one.offer_id}","expires_at":"{once(instant_text, one.expires_at)}",{told}}}'
        for one, told in zip(offers, terms, strict=True)
    ]
    more = "false" if after is None else "true"
    meta = f'{{"after":{text_json(after)},"has_more":{more}}}'
    age = int(offers[0].expires_at.timestamp()) // _TAG_LASTS_SECONDS if offers else 0
    whole = "\n".join((*map(str, asked), str(age), after or "", *terms))
    return OffersPage(
        f'{{"data":[{",".join(data)}],"meta":{meta}}}'.encode(), etags.digest(whole.encode())
    )


class _Once:
    """Renders a part once. Parts are known by identity, so whoever has this has to keep them."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[int, str] = {}

    def __call__(self, render: Callable[[T], str], part: T) -> str:
        text = self._known.get(id(part))
        if text is None:
            text = self._known[id(part)] = render(part)
        return text


def _terms(offer: model.Offer, once: _Once) -> str:
    """All of an offer but its id and until when it lasts."""
    slices = [once(partial(_slice, once=once), one) for one in offer.slices]
    return (
        f'"passengers":{once(counts_json, offer.passengers)},"slices":[{",".join(slices)}],'
        f'"price":{once(price_json, offer.price)}'
    )


def _slice(way: model.Slice, once: _Once) -> str:
    segments = [once(_segment, one) for one in way.segments]
    return (
        f'{{"origin":{text_json(way.first.origin)},"destination":{text_json(way.last.destination)},'
        f'"duration":"{duration_text(way.duration)}","segments":[{",".join(segments)}]}}'
    )


def _segment(offered: model.OfferedSegment) -> str:
    return f'{segment_json(offered.segment)[:-1]},"seats_left":{offered.seats_left}}}'
