"""Validates the claims of a token whose signature is good.

python-jose treats every claim as optional, accepts a missing audience as a matching one, and accepts a token
in the second in which it ends; so all of this is checked here. Raises `Refused`, whose message is for the
debug log and never for the caller.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.identity.principal import Principal, Scope
from app.identity.profile import IssuerProfile, Provider
from app.ids import TenantId

_LATEST_INSTANT = 253_402_300_799  # the last second of the year 9999
_TENANT = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_SCOPES = {scope.value: scope for scope in Scope}
_CLIENT_CLAIMS: Mapping[Provider, tuple[str, ...]] = {
    "oidc": ("client_id", "azp"),
    "cognito": ("client_id",),
    "auth0": ("azp", "client_id"),
    "okta": ("cid", "client_id"),
}


class Refused(Exception):
    """The token is refused. The message says why, without a byte of the token."""


@dataclass(frozen=True, slots=True)
class AcceptedToken:
    """From `ends_at` on (a Unix time, leeway included) the token is refused."""

    principal: Principal
    ends_at: float


def accept(
    claims: Mapping[str, Any], profile: IssuerProfile, *, now: float, leeway: float
) -> AcceptedToken:
    if claims.get("iss") != profile.issuer:
        raise Refused("iss is not the issuer whose key signed")
    ends_at = _instant(claims, "exp") + leeway
    if ends_at <= now:
        raise Refused("expired")
    if "nbf" in claims and _instant(claims, "nbf") > now + leeway:
        raise Refused("not valid yet")
    if "iat" in claims and _instant(claims, "iat") > now + leeway:
        raise Refused("issued in the future")
    subject = _name(claims, "sub")
    _check_audience(claims, profile)
    principal = Principal(
        tenant_id=_tenant(claims, profile),
        client_id=_client(claims, profile, subject),
        subject=subject,
        scopes=_scopes(claims, profile),
    )
    return AcceptedToken(principal, ends_at)


def _instant(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refused(f"{name} is not a number")
    if not 0 <= value <= _LATEST_INSTANT:  # also false for NaN
        raise Refused(f"{name} is not an instant")
    return float(value)


def _name(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= 255 or not value.isprintable():
        raise Refused(f"{name} is not a short printable string")
    return value


def _check_audience(claims: Mapping[str, Any], profile: IssuerProfile) -> None:
    if profile.provider == "cognito":
        # An access token of Cognito names no audience and an id token does. `token_use` distinguishes
        # them, and the listed clients decide which tokens are for us.
        if claims.get("token_use") != "access":
            raise Refused("token_use is not access")
        if not profile.audiences:
            return
    named = claims.get("aud")
    if isinstance(named, str):
        named = [named]
    if not isinstance(named, list) or not all(isinstance(entry, str) for entry in named):
        raise Refused("aud is neither a string nor a list of strings")
    if profile.audiences.isdisjoint(named):
        raise Refused("meant for another audience")


def _client(claims: Mapping[str, Any], profile: IssuerProfile, subject: str) -> str:
    claim = next((name for name in _CLIENT_CLAIMS[profile.provider] if name in claims), None)
    if not profile.client_ids:
        return subject if claim is None else _name(claims, claim)
    if claim is None:
        raise Refused("names no client")
    client = _name(claims, claim)
    if client not in profile.client_ids:
        raise Refused("issued to a client that is not listed")
    return client


def _tenant(claims: Mapping[str, Any], profile: IssuerProfile) -> TenantId:
    value = claims.get(profile.tenant_claim)
    if not isinstance(value, str) or _TENANT.fullmatch(value) is None:
        raise Refused("names no tenant")
    return TenantId(value)


def _scopes(claims: Mapping[str, Any], profile: IssuerProfile) -> frozenset[Scope]:
    granted = claims.get(profile.scope_claim, [])
    if isinstance(granted, str):
        granted = granted.split()
    if not isinstance(granted, list) or not all(isinstance(entry, str) for entry in granted):
        raise Refused("the scopes are neither a string nor a list of strings")
    prefix = profile.scope_prefix
    ours = (entry.removeprefix(prefix) for entry in granted if entry.startswith(prefix))
    return frozenset(_SCOPES[entry] for entry in ours if entry in _SCOPES)
