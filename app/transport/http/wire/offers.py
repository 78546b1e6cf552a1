"""Schemas of offers, and pages of offers rendered directly to JSON.

A page is assembled from parts. Parts that offers share (a segment, a slice, a price) are rendered once for
each page. The rest of an offer is its id, which differs each time.
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

_TAG_SECONDS = 300


class OfferedSegment(Segment):
    seats_left: int = Field(
        ge=1, le=SEATS_SHOWN_MAX, description="In this class; 9 means nine or more."
    )


class Slice(Output):
    origin: str
    destination: str
    duration: str = Field(examples=["PT4H5M"])
    segments: list[OfferedSegment]


class Offer(Output):
    """Can be held at this price until `expires_at`, while there are seats."""

    id: str = Field(description="Contains the offer itself; up to 2,048 characters.")
    expires_at: Instant
    passengers: Counts
    slices: list[Slice]
    price: Price


class SupersedingOffer(Offer):
    """The same seats at their current price."""

    supersedes: str = Field(description="The requested id, whose price has changed.")


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
    query: Sequence[object], offers: Sequence[model.Offer], after: str | None
) -> OffersPage:
    """The body equals the JSON of `listing(map(offer_out, offers), after)`, byte for byte.

    The tag covers what is offered, not the ids, which differ each time. It changes every few minutes, so
    that a cached offer can be held for most of its time.
    """
    once = _Once()
    terms = [_terms(one, once) for one in offers]
    data = [
        f'{{"id":"{one.offer_id}","expires_at":"{once(instant_text, one.expires_at)}",{text}}}'
        for one, text in zip(offers, terms, strict=True)
    ]
    more = "false" if after is None else "true"
    meta = f'{{"after":{text_json(after)},"has_more":{more}}}'
    age = int(offers[0].expires_at.timestamp()) // _TAG_SECONDS if offers else 0
    whole = "\n".join((*map(str, query), str(age), after or "", *terms))
    return OffersPage(
        f'{{"data":[{",".join(data)}],"meta":{meta}}}'.encode(), etags.digest(whole.encode())
    )


class _Once:
    """Renders each part once. Parts are identified by `id()`, so the caller must keep them alive."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[int, str] = {}

    def __call__(self, render: Callable[[T], str], part: T) -> str:
        text = self._known.get(id(part))
        if text is None:
            text = self._known[id(part)] = render(part)
        return text


def _terms(offer: model.Offer, once: _Once) -> str:
    """All of an offer except its id and `expires_at`."""
    slices = [once(partial(_slice, once=once), one) for one in offer.slices]
    return (
        f'"passengers":{once(counts_json, offer.passengers)},"slices":[{",".join(slices)}],'
        f'"price":{once(price_json, offer.price)}'
    )


def _slice(value: model.Slice, once: _Once) -> str:
    segments = [once(_segment, one) for one in value.segments]
    return (
        f'{{"origin":{text_json(value.first.origin)},"destination":{text_json(value.last.destination)},'
        f'"duration":"{duration_text(value.duration)}","segments":[{",".join(segments)}]}}'
    )


def _segment(offered: model.OfferedSegment) -> str:
    return f'{segment_json(offered.segment)[:-1]},"seats_left":{offered.seats_left}}}'
