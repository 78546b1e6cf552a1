"""What makes two requests the same one, and what the first answer is made from again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from app.ids import TenantId

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """The client's key, and the SHA-256 of what was asked (the parsed JSON, keys sorted)."""

    key: str
    request_hash: str


@dataclass(frozen=True, slots=True)
class Answered(Generic[T]):
    """An answer; `replayed` if it is that of an earlier request with the same key."""

    value: T
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class NewRecord:
    """The record of a key that was not used before, for work on `subject_id`.

    `facts` are what the first answer says and no other row keeps.
    """

    tenant_id: TenantId
    key: IdempotencyKey
    subject_id: str
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class IdempotencyRecord:
    """What the first answer is made from again: what it was about, and facts that no other row keeps."""

    request_hash: str
    subject_id: str
    facts: Mapping[str, Any]
