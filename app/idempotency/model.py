"""What makes two requests the same one, and how the first answer is given again."""

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
    """`replayed`: the same value as the first time, from what was kept."""

    value: T
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """A key that is taken for work on `subject_id`, with the facts that no row keeps."""

    tenant_id: TenantId
    key: IdempotencyKey
    subject_id: str
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Record:
    """What the first answer is made from again: whom it was about, and facts that no row keeps."""

    request_hash: str
    subject_id: str
    facts: Mapping[str, Any]
