"""Verifies bearer tokens; the only importer of python-jose.

python-jose checks one signature with one key and one algorithm, both chosen here, and does nothing else
(docs/decisions/0007-python-jose-in-one-module.md). Size and shape are checked before anything is parsed, the
header before a key is looked up, the claims by app.identity.claims. A URL or a key inside a token is never
used. Every failure, also inside python-jose, becomes `Unauthenticated`; the reason goes to the debug log
without a byte of the token.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from jose import jws

from app.clock import Clock
from app.identity.claims import AcceptedToken, Refused, accept
from app.identity.encoding import decode_base64url, decode_json_object
from app.identity.errors import Unauthenticated
from app.identity.keys import MAX_KID_LENGTH, KeySource
from app.identity.principal import Principal
from app.identity.profile import IssuerProfile

MAX_TOKEN_LENGTH = 8192
_TYPES = frozenset({"jwt", "at+jwt"})
_REFUSED_HEADERS = ("crit", "b64", "zip")
_NUMBERS = {"RS256": ("kty", "n", "e"), "ES256": ("kty", "crv", "x", "y")}

_log = structlog.get_logger(__name__)


class Verifier:
    """Caches verified tokens until they end or their key is withdrawn, so that a busy client costs one signature
    check and not one per request. `cache_size`: clients with a live token at one time, about 1 KB each.
    """

    def __init__(
        self,
        issuers: Sequence[tuple[IssuerProfile, KeySource]],
        *,
        clock: Clock,
        leeway_seconds: float = 30,
        cache_size: int = 4096,
    ) -> None:
        self._issuers = {profile.issuer: (profile, keys) for profile, keys in issuers}
        if len(self._issuers) != len(issuers):
            raise ValueError("two profiles of one issuer")
        self._clock = clock
        self._leeway = leeway_seconds
        self._cache_size = cache_size
        self._verified: OrderedDict[bytes, _Verified] = OrderedDict()

    async def verify(self, token: str) -> Principal:
        """Raises Unauthenticated, and nothing else."""
        try:
            return await self._verify(token)
        except Refused as refusal:
            _log.debug("token_refused", reason=str(refusal))
        except Exception as failure:
            _log.debug("token_refused", reason=f"unreadable: {type(failure).__name__}")
        raise Unauthenticated

    async def _verify(self, token: str) -> Principal:
        if len(token) > MAX_TOKEN_LENGTH:
            raise Refused("too long")
        if not token.isascii() or token.count(".") != 2:
            raise Refused("not three segments of ASCII")
        fingerprint = hashlib.sha256(token.encode()).digest()
        cached = self._verified.get(fingerprint)
        if cached is not None:
            if await self._is_still_valid(cached):
                if fingerprint in self._verified:
                    self._verified.move_to_end(fingerprint)
                return cached.accepted.principal
            self._verified.pop(fingerprint, None)
        verified = await self._check(token)
        self._verified[fingerprint] = verified
        if len(self._verified) > self._cache_size:
            self._verified.popitem(last=False)
        return verified.accepted.principal

    async def _is_still_valid(self, verified: "_Verified") -> bool:
        if verified.accepted.ends_at <= self._now():
            return False
        return await verified.source.key(verified.kid) == verified.key

    async def _check(self, token: str) -> "_Verified":
        segments = token.split(".")
        header = decode_json_object(decode_base64url(segments[0]))
        claims = decode_json_object(decode_base64url(segments[1]))
        decode_base64url(segments[2])
        algorithm, kid = _check_header(header)
        issuer = claims.get("iss")
        if not isinstance(issuer, str) or issuer not in self._issuers:
            raise Refused("unknown issuer")
        profile, source = self._issuers[issuer]
        if algorithm not in profile.algorithms:
            raise Refused("the issuer does not use this algorithm")
        key = await source.key(kid)
        if key is None:
            raise Refused("the issuer has no such key")
        if key["alg"] != algorithm:
            raise Refused("the algorithm does not fit the key")
        # Raises various exceptions for a bad signature. The claims are those parsed above, strictly, from
        # the very bytes that were signed.
        jwk = {member: key[member] for member in _NUMBERS[algorithm]}
        jws.verify(token, jwk, algorithms=[algorithm])
        accepted = accept(claims, profile, now=self._now(), leeway=self._leeway)
        return _Verified(accepted, source, kid, key)

    def _now(self) -> float:
        return self._clock().timestamp()


@dataclass(frozen=True, slots=True)
class _Verified:
    accepted: AcceptedToken
    source: KeySource
    kid: str
    key: Mapping[str, str]


def _check_header(header: Mapping[str, Any]) -> tuple[str, str]:
    """The algorithm and the key's id. `jku`, `jwk`, `x5u` and `x5c` are ignored."""
    for name in _REFUSED_HEADERS:
        if name in header:
            raise Refused(f"{name} in the header")
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in _TYPES:
        raise Refused("typ is not that of an access token")
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in _NUMBERS:
        raise Refused("unsupported algorithm")
    if not isinstance(kid, str) or not 1 <= len(kid) <= MAX_KID_LENGTH:
        raise Refused("names no key")
    return algorithm, kid
