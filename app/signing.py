"""Signed texts that clients send back: cursors and offers.

A signature proves that this deployment wrote the payload; it does not encrypt it. The first key signs and all
keys verify, so that keys can be rotated without refusing texts that clients already have.
"""

import base64
import binascii
import hmac
from collections.abc import Sequence

_MAC_BYTES = 16  # a truncated HMAC-SHA256: 128 bits, and half the length in every URL


class Signer:
    """`purpose` separates cursors from offers under the same keys."""

    def __init__(self, keys: Sequence[str], purpose: str) -> None:
        assert keys, "at least one signing key is required"
        self._keys = [hmac.digest(key.encode(), purpose.encode(), "sha256") for key in keys]

    def sign(self, payload: bytes) -> str:
        """URL-safe text that contains the payload."""
        return _encode(_mac(self._keys[0], payload) + payload)

    def verify(self, text: str) -> bytes | None:
        """The payload, or None if the text was not signed here, byte for byte."""
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            return None
        mac, payload = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        if (
            _encode(raw) != text
        ):  # base64 can encode one value in several ways; only ours is accepted
            return None
        known = [hmac.compare_digest(mac, _mac(key, payload)) for key in self._keys]
        return payload if any(known) else None


def _mac(key: bytes, payload: bytes) -> bytes:
    return hmac.digest(key, payload, "sha256")[
        :_MAC_BYTES
    ]  # the digest by its name: one call, in C


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
