"""Fetches the key set of an OpenID Connect issuer over HTTP, for `CachedKeys`.

Requests go only to addresses that the operator configured or that the issuer's own discovery document names. No
redirect is followed. An answer that is compressed, large or of another shape is an `OidcAnswerRefused`. The
caller decides how often to fetch and gives each fetch a deadline (five seconds in `CachedKeys`); the timeouts
here are those of one step.
"""

import json
from collections.abc import Mapping
from typing import Any

import httpx

from app.identity.profile import IssuerProfile, is_trustworthy_url

MAX_ANSWER_BYTES = 65_536
_TIMEOUT = httpx.Timeout(3.0)
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity"}


class OidcAnswerRefused(Exception):
    """The issuer's answer is not a valid key set or discovery document."""


class OidcKeys:
    """The caller closes `http`."""

    def __init__(self, profile: IssuerProfile, http: httpx.AsyncClient) -> None:
        self._profile = profile
        self._http = http

    async def fetch(self) -> Mapping[str, Any]:
        """The JWK set. Raises OidcAnswerRefused or httpx.HTTPError."""
        jwks = await self._read(self._profile.jwks_uri or await self._discover())
        if not isinstance(jwks.get("keys"), list):
            raise OidcAnswerRefused("the key set has no list of keys")
        return jwks

    async def _discover(self) -> str:
        issuer = self._profile.issuer
        document = await self._read(issuer.rstrip("/") + "/.well-known/openid-configuration")
        if document.get("issuer") != issuer:
            raise OidcAnswerRefused(f"the discovery document of {issuer} names another issuer")
        jwks_uri = document.get("jwks_uri")
        if not isinstance(jwks_uri, str) or not is_trustworthy_url(jwks_uri):
            raise OidcAnswerRefused(f"the discovery document of {issuer} has no usable jwks_uri")
        if jwks_uri.startswith("http:") and not issuer.startswith("http:"):
            raise OidcAnswerRefused(f"{issuer} points from https to http")
        return jwks_uri

    async def _read(self, url: str) -> dict[str, Any]:
        async with self._http.stream(
            "GET", url, headers=_HEADERS, timeout=_TIMEOUT, follow_redirects=False
        ) as answer:
            if answer.status_code != httpx.codes.OK:
                raise OidcAnswerRefused(f"{url} answered {answer.status_code}")
            # No compression was requested; it is refused because a small archive can contain a huge document.
            if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
                raise OidcAnswerRefused(f"{url} answered compressed")
            body = bytearray()
            async for chunk in answer.aiter_raw():
                body += chunk
                if len(body) > MAX_ANSWER_BYTES:
                    raise OidcAnswerRefused(f"{url} answered more than {MAX_ANSWER_BYTES} bytes")
        try:
            document = json.loads(body.decode("utf-8"))
        except (ValueError, RecursionError):
            raise OidcAnswerRefused(f"{url} answered no JSON") from None
        if not isinstance(document, dict):
            raise OidcAnswerRefused(f"{url} answered no JSON object")
        return document
