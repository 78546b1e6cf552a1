"""Scopes are asked for by name, and what is missing is named."""

import pytest

from app.errors import ErrorKind
from app.identity.errors import ScopeMissing, Unauthenticated
from app.identity.principal import Principal, Scope
from app.ids import TenantId

READER = Principal(TenantId("t"), "c", "s", frozenset({Scope.OFFERS_READ}))


def test_scope_at_hand() -> None:
    READER.require(Scope.OFFERS_READ)


def test_scope_missing_is_named() -> None:
    with pytest.raises(ScopeMissing) as refusal:
        READER.require(Scope.INVENTORY_ADMIN)
    assert (refusal.value.kind, refusal.value.code) == (ErrorKind.FORBIDDEN, "scope_missing")
    assert refusal.value.facts == {"required_scope": "inventory:admin"}


def test_unauthenticated_says_one_thing() -> None:
    refusal = Unauthenticated()
    assert (refusal.kind, refusal.code) == (ErrorKind.UNAUTHENTICATED, "unauthenticated")
    assert refusal.facts == {}
