"""Cursors: where a list goes on, opaque to the client and bound to what was asked.

A cursor is signed and carries a digest of its query, tenant included, so that it cannot be made up,
carried to another query or handed to another tenant.
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
        """`query` is everything that chose the list: tenant, route, filters, order."""
        return self._signer.sign(
            _digest(query) + json.dumps(list(position), separators=(",", ":")).encode()
        )

    def open(self, query: Sequence[object], cursor: str) -> list[str | int]:
        """The position; raises ValidationFailed where the cursor is not one of this query."""
        payload = self._signer.verify(cursor)
        if payload is None or payload[:_DIGEST_BYTES] != _digest(query):
            detail = "Take `after` from the `meta` of the same query's page before."
            raise ValidationFailed(
                "This cursor belongs to no page of this query.",
                violations=[Violation("parameter", "after", "invalid", detail)],
            )
        position: list[str | int] = json.loads(payload[_DIGEST_BYTES:])
        return position


def _digest(query: Sequence[object]) -> bytes:
    text = json.dumps([None if part is None else str(part) for part in query])
    return hashlib.sha256(text.encode()).digest()[:_DIGEST_BYTES]
