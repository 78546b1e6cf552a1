"""Profiles of token issuers: the setting OIDC_ISSUERS, parsed strictly.

A profile decides which tokens are for this deployment. Cognito's access tokens name no audience, so its
profile lists clients; all others require an audience. No function here makes a request.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

Provider = Literal["oidc", "cognito", "auth0", "okta"]
Algorithm = Literal["RS256", "ES256"]

MAX_PROFILES = 16
"""More issuers than this are a mistake in the setting."""

_LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
_SCOPE_CLAIMS: dict[Provider, str] = {"okta": "scp"}


@dataclass(frozen=True, slots=True)
class IssuerProfile:
    """`jwks_uri` None means OIDC discovery. `scope_prefix` (Cognito's resource server, with its
    slash) is removed from each scope, and scopes without it are ignored.
    """

    issuer: str
    audiences: frozenset[str]
    provider: Provider = "oidc"
    client_ids: frozenset[str] = frozenset()
    jwks_uri: str | None = None
    tenant_claim: str = "tenant_id"
    scope_claim: str = "scope"
    scope_prefix: str = ""
    algorithms: frozenset[Algorithm] = frozenset({"RS256"})


def parse_profiles(entries: Sequence[object]) -> tuple[IssuerProfile, ...]:
    """The profiles in the setting OIDC_ISSUERS, an already parsed JSON list.

    Raises ValueError with one line that names the member at fault.
    """
    if len(entries) > MAX_PROFILES:
        raise ValueError(f"OIDC_ISSUERS: at most {MAX_PROFILES} issuers, not {len(entries)}")
    profiles: list[IssuerProfile] = []
    for index, entry in enumerate(entries):
        profile = _parse_profile(entry, f"OIDC_ISSUERS[{index}]")
        if any(profile.issuer == other.issuer for other in profiles):
            raise ValueError(f"OIDC_ISSUERS[{index}].issuer: {profile.issuer} is listed twice")
        profiles.append(profile)
    return tuple(profiles)


def is_trustworthy_url(url: str) -> bool:
    """https anywhere, http only on this machine; no user, fragment, space or control character."""
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return False
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises ValueError for an invalid port
    except ValueError:
        return False
    if not parts.hostname or "@" in parts.netloc or "#" in url:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOCAL_HOSTS)


def _url(url: str) -> str:
    if not is_trustworthy_url(url):
        raise ValueError("must be an https URL (http is allowed for localhost alone)")
    return url


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


_Text = Annotated[str, Field(min_length=1, max_length=255)]
_Url = Annotated[str, Field(max_length=1024), AfterValidator(_url)]
_Texts = Annotated[list[_Text], Field(min_length=1, max_length=64)]


class _ProfileEntry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    issuer: _Url
    jwks_uri: _Url | None = None
    audience: Annotated[_Texts | None, BeforeValidator(_listed)] = None
    provider: Provider = "oidc"
    client_ids: _Texts | None = None
    tenant_claim: _Text = "tenant_id"
    scope_claim: _Text | None = None
    scope_prefix: Annotated[str, Field(max_length=255)] = ""
    algorithms: Annotated[list[Algorithm], Field(min_length=1)] = ["RS256"]

    @model_validator(mode="after")
    def _selective(self) -> Self:
        if self.provider == "cognito" and not self.client_ids:
            raise ValueError("client_ids: is required where the provider is cognito")
        if self.provider != "cognito" and not self.audience:
            raise ValueError("audience: is required unless the provider is cognito")
        return self


def _parse_profile(entry: object, place: str) -> IssuerProfile:
    try:
        read = _ProfileEntry.model_validate(entry)
    except ValidationError as refusal:
        first = refusal.errors(include_url=False, include_context=False, include_input=False)[0]
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            message = "is not a member of an issuer profile"
        path = "".join(f"[{at}]" if isinstance(at, int) else f".{at}" for at in first["loc"])
        if path:
            raise ValueError(f"{place}{path}: {message}") from None
        separator = "." if first["type"] == "value_error" else ": "
        raise ValueError(f"{place}{separator}{message}") from None
    return IssuerProfile(
        issuer=read.issuer,
        audiences=frozenset(read.audience or ()),
        provider=read.provider,
        client_ids=frozenset(read.client_ids or ()),
        jwks_uri=read.jwks_uri,
        tenant_claim=read.tenant_claim,
        scope_claim=read.scope_claim or _SCOPE_CLAIMS.get(read.provider, "scope"),
        scope_prefix=read.scope_prefix,
        algorithms=frozenset(read.algorithms),
    )
