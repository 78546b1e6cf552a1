"""Cursors: opaque, signed texts that say where the next page of a list begins.

A cursor contains a digest of its query, including the tenant, so that it cannot be forged, or used for
another query or by another tenant.
"""

import hashlib
import json
from collections.abc import Sequence

from app.errors import ValidationFailed, Violation
from app.signing import Signer

Position = Sequence[str | int]

_DIGEST_BYTES = 12


class Cursors:
    def __init__(self, signing_keys: Sequence[str]) -> None:
        self._signer = Signer(signing_keys, purpose="cursor")

    def seal(self, query: Sequence[object], position: Position) -> str:
        """`query` is everything that determines the list: tenant, route, filters, order."""
        return self._signer.sign(
            _digest(query) + json.dumps(list(position), separators=(",", ":")).encode()
        )

    def open(self, query: Sequence[object], cursor: str) -> list[str | int]:
        """The position. Raises ValidationFailed if the cursor is not of this query."""
        payload = self._signer.verify(cursor)
        if payload is None or payload[:_DIGEST_BYTES] != _digest(query):
            detail = "must be `meta.after` of the previous page of the same query"
            raise ValidationFailed(
                "The cursor does not belong to this query.",
                violations=[Violation("parameter", "after", "invalid", detail)],
            )
        position: list[str | int] = json.loads(payload[_DIGEST_BYTES:])
        return position


def _digest(query: Sequence[object]) -> bytes:
    text = json.dumps([None if part is None else str(part) for part in query])
    return hashlib.sha256(text.encode()).digest()[:_DIGEST_BYTES]
