"""A cache of the public keys of one issuer.

`CachedKeys` guarantees: a key that the issuer has withdrawn is gone after the next valid answer; an issuer that
is unreachable, slow or sends invalid data changes nothing for known keys until the hard limit; whatever tokens
arrive, the issuer gets one request at a time and at most one every ten seconds. It does not know HTTP: a
function that fetches the keys is passed in. A refresh goes on without callers, so it is a task of its own and
not a single-flight.
"""

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import structlog

from app.identity.encoding import decode_base64url, encode_base64url

MAX_KEYS = 64
MAX_KID_LENGTH = 128
MAX_ABSENT_KIDS = (
    1024  # forged ids displace each other; a real one costs one request in ten seconds
)

_log = structlog.get_logger(__name__)

Fetch = Callable[[], Awaitable[Mapping[str, Any]]]
"""Requests the issuer's JWK set. May raise any exception."""


class KeySource(Protocol):
    async def key(self, kid: str) -> Mapping[str, str] | None:
        """The one usable public JWK with that id, or None. It has `kty`, `kid`, `alg` and the numbers of its
        kind; equal mappings are the same key.
        """
        ...


class CachedKeys:
    """All times in seconds. After `soft_ttl` the set is requested again while the old one is still used;
    after `hard_ttl` without a valid answer the old one is no longer used.
    """

    def __init__(
        self,
        fetch: Fetch,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        soft_ttl: float = 300,
        hard_ttl: float = 86_400,
        min_interval: float = 10,
        absent_ttl: float = 60,
        fetch_timeout: float = 5,
    ) -> None:
        self._fetch = fetch
        self._monotonic = monotonic
        self._soft_ttl = soft_ttl
        self._hard_ttl = hard_ttl
        self._min_interval = min_interval
        self._absent_ttl = absent_ttl
        self._fetch_timeout = fetch_timeout
        self._keys: Mapping[str, Mapping[str, str]] = {}
        self._fetched_at = float("-inf")
        self._requested_at = float("-inf")
        self._last_request_failed = False
        self._refreshing: asyncio.Task[None] | None = None
        self._absent: OrderedDict[str, float] = OrderedDict()

    async def key(self, kid: str) -> Mapping[str, str] | None:
        age = self._monotonic() - self._fetched_at
        if age >= self._soft_ttl:
            refreshing = self._refresh_if_due()
            # Normally the caller that finds the set old does not wait for the new one. It waits if the set
            # is so old that a withdrawn key may still be in it, unless the last request failed: an
            # outage of the issuer must not slow down every call.
            overdue = age >= 2 * self._soft_ttl and not self._last_request_failed
            if refreshing is not None and (overdue or age >= self._hard_ttl):
                await asyncio.shield(refreshing)
        found = self._find(kid)
        if found is not None or self._known_absent(kid):
            return found
        refreshing = self._refresh_if_due()
        if refreshing is None:
            return None
        await asyncio.shield(refreshing)
        found = self._find(kid)
        if found is None and not self._last_request_failed:
            self._remember_absent(kid)
        return found

    async def aclose(self) -> None:
        """Cancels a refresh under way."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.wait([self._refreshing])
            self._refreshing = None

    def _find(self, kid: str) -> Mapping[str, str] | None:
        if self._monotonic() - self._fetched_at >= self._hard_ttl:
            return None
        return self._keys.get(kid)

    def _known_absent(self, kid: str) -> bool:
        learned_at = self._absent.get(kid)
        return learned_at is not None and self._monotonic() - learned_at < self._absent_ttl

    def _remember_absent(self, kid: str) -> None:
        self._absent[kid] = self._monotonic()
        self._absent.move_to_end(kid)
        if len(self._absent) > MAX_ABSENT_KIDS:
            self._absent.popitem(last=False)

    def _refresh_if_due(self) -> asyncio.Task[None] | None:
        """The refresh under way, or a new one if the last began long enough ago."""
        if self._refreshing is not None and not self._refreshing.done():
            return self._refreshing
        if self._monotonic() - self._requested_at < self._min_interval:
            return None
        self._requested_at = self._monotonic()
        self._refreshing = asyncio.create_task(self._refresh(), name="jwks-refresh")
        return self._refreshing

    async def _refresh(self) -> None:
        try:
            async with asyncio.timeout(self._fetch_timeout):
                keys = parse_jwks(await self._fetch())
        except Exception as failure:
            self._last_request_failed = True
            reason = f"{type(failure).__name__}: {failure}"[:300]
            _log.warning("jwks_refresh_failed", reason=reason, count=len(self._keys))
            return
        self._last_request_failed = False
        self._keys = keys
        self._fetched_at = self._monotonic()


def parse_jwks(document: object) -> Mapping[str, Mapping[str, str]]:
    """The usable keys of a JWK set by id, each rebuilt from its numbers alone.

    Keys that do not verify the supported signatures are skipped, and so are keys that share an id. A
    well-formed set is accepted even if none of its keys is usable: so an issuer withdraws all its keys.
    Raises ValueError for anything else.
    """
    entries = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise ValueError("not a JWK set")
    if len(entries) > MAX_KEYS:
        raise ValueError(f"a JWK set of {len(entries)} keys; at most {MAX_KEYS} are read")
    usable = [key for entry in entries if (key := _usable(entry)) is not None]
    count_of_kid = Counter(key["kid"] for key in usable)
    return {key["kid"]: key for key in usable if count_of_kid[key["kid"]] == 1}


def _usable(jwk: Mapping[str, Any]) -> Mapping[str, str] | None:
    kid = jwk.get("kid")
    if not isinstance(kid, str) or not 1 <= len(kid) <= MAX_KID_LENGTH:
        return None
    if jwk.get("use", "sig") != "sig" or not _may_verify(jwk.get("key_ops", ["verify"])):
        return None
    try:
        match jwk.get("kty"):
            case "RSA":
                key = _rsa(jwk)
            case "EC":
                key = _p256(jwk)
            case _:
                return None
    except ValueError:
        return None
    if jwk.get("alg", key["alg"]) != key["alg"]:
        return None
    return {**key, "kid": kid}


def _may_verify(key_ops: object) -> bool:
    return isinstance(key_ops, list) and "verify" in key_ops


def _rsa(jwk: Mapping[str, Any]) -> dict[str, str]:
    modulus = int.from_bytes(_bytes(jwk, "n", at_most=1025))
    exponent = int.from_bytes(_bytes(jwk, "e", at_most=5))
    if not 2048 <= modulus.bit_length() <= 8192:
        raise ValueError("an RSA modulus outside 2048-8192 bits")
    if exponent % 2 == 0 or not 3 <= exponent < 2**32:  # a long one costs much time to verify
        raise ValueError("an RSA exponent that is even, trivial or long")
    return {"kty": "RSA", "alg": "RS256", "n": _number(modulus), "e": _number(exponent)}


def _p256(jwk: Mapping[str, Any]) -> dict[str, str]:
    x, y = _bytes(jwk, "x", at_most=32), _bytes(jwk, "y", at_most=32)
    if jwk.get("crv") != "P-256" or len(x) != 32 or len(y) != 32:
        raise ValueError("not a point of P-256")
    return {
        "kty": "EC",
        "alg": "ES256",
        "crv": "P-256",
        "x": encode_base64url(x),
        "y": encode_base64url(y),
    }


def _bytes(jwk: Mapping[str, Any], member: str, *, at_most: int) -> bytes:
    text = jwk.get(member)
    if not isinstance(text, str) or not 1 <= len(text) <= 2 * at_most:
        raise ValueError(f"{member} is missing or too long")
    raw = decode_base64url(text)
    if len(raw) > at_most:
        raise ValueError(f"{member} is too long")
    return raw


def _number(value: int) -> str:
    return encode_base64url(value.to_bytes((value.bit_length() + 7) // 8))
