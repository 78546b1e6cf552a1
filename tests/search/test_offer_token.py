"""An offer's id is the offer: whole, of this tenant, of this deployment, or nothing."""

import base64
import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import ValidationFailed
from app.hold.model import microseconds
from app.inventory.itinerary import PassengerCounts
from app.money import Money
from app.search.offer_token import OFFER_ID_MAX, OfferTokens, expiry_of
from app.signing import Signer
from app.transport.http.wire.cursors import Cursors
from tests.builders.holds import DEMO, RIVAL
from tests.builders.search import NOW, SIGNING_KEYS, terms

TOKENS = OfferTokens(SIGNING_KEYS)
flight_ids = st.from_regex(r"flt_[A-Za-z0-9_-]{1,60}", fullmatch=True)
letters = st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
moneys = st.integers(0, 10**14).map(lambda minor: Money(minor, "USD"))


@given(
    st.lists(st.tuples(flight_ids, letters), min_size=1, max_size=6),
    st.tuples(st.integers(1, 9), st.integers(0, 8), st.integers(0, 9)),
    st.tuples(moneys, moneys, moneys),
    st.integers(0, 10**9),
)
def test_what_is_sealed_is_what_is_read(
    choices: list[tuple[str, str]],
    counts: tuple[int, int, int],
    each: tuple[Money, Money, Money],
    milliseconds: int,
) -> None:
    sealed = terms(
        *choices,
        passengers=PassengerCounts(*counts),
        each=each,
        expires_at=NOW + timedelta(milliseconds=milliseconds),
    )
    offer_id = TOKENS.seal(DEMO, sealed)
    assert TOKENS.open_offer(DEMO, offer_id) == sealed
    assert TOKENS.seal(DEMO, sealed) == offer_id
    assert len(offer_id) <= OFFER_ID_MAX


def test_the_longest_offer_is_bounded() -> None:
    longest = terms(
        *((f"flt_{str(i) * 60}", "Y") for i in range(6)),
        passengers=PassengerCounts(1, 8, 1),
        each=(Money(10**15, "USD"),) * 3,
    )
    offer_id = TOKENS.seal(DEMO, longest)
    assert len(offer_id) <= OFFER_ID_MAX // 2
    assert offer_id.removeprefix("off_").replace("-", "").replace("_", "").isalnum()


def test_an_expiry_is_twenty_minutes_ahead_in_the_milliseconds_that_are_shown() -> None:
    expires_at = expiry_of(NOW + timedelta(microseconds=1999))
    assert expires_at == NOW + timedelta(minutes=20, milliseconds=1)


def test_another_tenant_cannot_read_it() -> None:
    refuse(TOKENS.seal(RIVAL, terms()))


def test_every_changed_character_is_noticed() -> None:
    offer_id = TOKENS.seal(DEMO, terms())
    for index, character in enumerate(offer_id):
        refuse(offer_id[:index] + ("A" if character != "A" else "B") + offer_id[index + 1 :])


def test_every_truncation_is_noticed() -> None:
    offer_id = TOKENS.seal(DEMO, terms())
    for length in range(len(offer_id)):
        refuse(offer_id[:length])


@pytest.mark.parametrize("tail", ["=", "==", "\n", " ", "A", "AAAA", "\0", "é"])
def test_everything_added_is_noticed(tail: str) -> None:
    offer_id = TOKENS.seal(DEMO, terms())
    refuse(offer_id + tail)
    refuse("off_" + tail + offer_id.removeprefix("off_"))


@pytest.mark.parametrize(
    "text",
    ["", "off_", "off", "off_é", "off_\0", "off_A", "off_" + "A" * 40, "flt_a", "\ud800", "OFF_"],
)
def test_text_that_was_never_an_offer(text: str) -> None:
    refuse(text)


def test_an_oversized_text_is_refused_even_where_it_is_signed() -> None:
    payload = payload_of(TOKENS.seal(DEMO, terms()))
    digest, packed = payload[:12], json.loads(payload[12:])
    packed[-3] *= 2 * OFFER_ID_MAX // len('["flt_a","M"]')
    signed = Signer(SIGNING_KEYS, "offer").sign(digest + json.dumps(packed).encode())
    assert len(signed) > OFFER_ID_MAX
    refuse("off_" + signed)


def test_a_cursor_is_not_an_offer() -> None:
    offer_id = TOKENS.seal(DEMO, terms())
    cursor = Cursors(SIGNING_KEYS).seal(["offers", DEMO], [1])
    refuse("off_" + cursor)
    refuse("off_" + Signer(SIGNING_KEYS, "cursor").sign(payload_of(offer_id)))


def test_another_version_is_not_guessed_at() -> None:
    payload = payload_of(TOKENS.seal(DEMO, terms()))
    digest, packed = payload[:12], json.loads(payload[12:])
    again = Signer(SIGNING_KEYS, "offer")
    assert TOKENS.read(DEMO, "off_" + again.sign(payload)) == terms()
    packed[0] = 1
    refuse("off_" + again.sign(digest + json.dumps(packed).encode()))


def test_a_new_key_signs_and_the_old_one_still_verifies() -> None:
    old = OfferTokens(["a" * 32])
    rotated = OfferTokens(["b" * 32, "a" * 32])
    assert rotated.read(DEMO, old.seal(DEMO, terms())) == terms()
    assert old.read(DEMO, rotated.seal(DEMO, terms())) is None


def test_a_body_is_told_where_the_unknown_offer_stands() -> None:
    with pytest.raises(ValidationFailed) as refused:
        TOKENS.open_offer(DEMO, "off_nothing")
    (violation,) = refused.value.violations
    assert (violation.place, violation.at, violation.code) == (
        "pointer",
        "/offer_id",
        "unknown_offer",
    )


def test_an_expired_offer_is_still_read_so_that_it_can_be_told_apart() -> None:
    expired = terms(expires_at=NOW - timedelta(days=1))
    read = TOKENS.open_offer(DEMO, TOKENS.seal(DEMO, expired))
    assert microseconds(read.expires_at) == microseconds(NOW - timedelta(days=1))


def payload_of(offer_id: str) -> bytes:
    text = offer_id.removeprefix("off_")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))[16:]


def refuse(text: str) -> None:
    assert TOKENS.read(DEMO, text) is None
    with pytest.raises(ValidationFailed):
        TOKENS.open_offer(DEMO, text)
