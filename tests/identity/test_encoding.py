"""Strict readings: one spelling for each byte string, one meaning for each document."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.identity.encoding import decode_base64url, decode_json_object, encode_base64url


@given(st.binary(max_size=80))
def test_base64url_there_and_back(raw: bytes) -> None:
    assert decode_base64url(encode_base64url(raw)) == raw


@given(st.text(alphabet="AQgw_-", max_size=9))
def test_only_one_spelling_is_read(text: str) -> None:
    try:
        raw = decode_base64url(text)
    except ValueError:
        return
    assert encode_base64url(raw) == text


@pytest.mark.parametrize("text", ["A", "AA==", "AB", "A A", "AAA\n", "+/+/", "é", "AAAA====", "１"])
def test_other_spellings_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="base64url"):
        decode_base64url(text)


@pytest.mark.parametrize(
    "raw",
    [b"", b"[]", b"1", b'{"a":1,"a":1}', b'{"a":NaN}', b'{"a":-Infinity}', b'{"a":1}x', b"\xff"],
)
def test_other_documents_are_refused(raw: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the words are json's own
        decode_json_object(raw)
