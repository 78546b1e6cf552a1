"""What makes two requests the same one: the client's key and a hash of what was asked."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    key: str
    request_hash: str
