"""Signed text: what was signed here comes back, nothing else does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.signing import Signer

KEYS = ["k" * 32, "l" * 32]


@given(st.binary(max_size=200))
def test_a_payload_comes_back(payload: bytes) -> None:
    signer = Signer(KEYS, "test")
    text = signer.sign(payload)
    assert signer.verify(text) == payload
    assert text.isascii()
    assert not set(text) & set("+/= ")


@given(st.text(max_size=100))
def test_text_of_others_does_not(text: str) -> None:
    assert Signer(KEYS, "test").verify(text) is None


def test_purposes_do_not_mix() -> None:
    assert Signer(KEYS, "offer").verify(Signer(KEYS, "cursor").sign(b"x")) is None


@pytest.mark.parametrize(("keys", "known"), [(KEYS, True), (KEYS[::-1], True), (KEYS[1:], False)])
def test_the_first_key_signs_and_all_verify(keys: list[str], known: bool) -> None:
    assert (Signer(keys, "test").verify(Signer(KEYS, "test").sign(b"x")) == b"x") is known
