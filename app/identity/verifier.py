"""From a bearer token to a `Principal`; the only importer of python-jose.

python-jose is used for one thing, checking one signature with one key and one algorithm, both
chosen here (docs/decisions/0007-python-jose-in-one-module.md). Size and shape are judged before
anything is parsed, the header before a key is looked up, the claims by app.identity.claims.
Nothing in a token is ever fetched or used as a key. Whatever is wrong, also inside python-jose, is
`Unauthenticated`, and the reason goes to the debug log without a byte of the token.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from jose import jws

from app.clock import Clock
from app.identity.claims import Admission, Refused, admit
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
    """Verified tokens are remembered (`cache_size` of them) until they end or their key is gone,
    so that a busy client costs one signature check and not one a request.
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
        remembered = self._verified.get(fingerprint)
        if remembered is not None:
            if await self._still_good(remembered):
                if fingerprint in self._verified:
                    self._verified.move_to_end(fingerprint)
                return remembered.admission.principal
            self._verified.pop(fingerprint, None)
        verified = await self._check(token)
        self._verified[fingerprint] = verified
        if len(self._verified) > self._cache_size:
            self._verified.popitem(last=False)
        return verified.admission.principal

    async def _still_good(self, verified: "_Verified") -> bool:
        if verified.admission.ends_at <= self._now():
            return False
        return await verified.source.key(verified.kid) == verified.key

    async def _check(self, token: str) -> "_Verified":
        segments = token.split(".")
        header = decode_json_object(decode_base64url(segments[0]))
        claims = decode_json_object(decode_base64url(segments[1]))
        decode_base64url(segments[2])
        algorithm, kid = _judge_header(header)
        issuer = claims.get("iss")
        if not isinstance(issuer, str) or issuer not in self._issuers:
            raise Refused("an issuer we do not know")
        profile, source = self._issuers[issuer]
        if algorithm not in profile.algorithms:
            raise Refused("an algorithm this issuer does not use")
        key = await source.key(kid)
        if key is None:
            raise Refused("a key this issuer does not have")
        if key["alg"] != algorithm:
            raise Refused("an algorithm of another kind than its key")
        # Raises for a bad signature, and many other things for a strange one. The claims are those
        # parsed above: the strict reading of the very bytes that were signed.
        jwk = {member: key[member] for member in _NUMBERS[algorithm]}
        jws.verify(token, jwk, algorithms=[algorithm])
        admission = admit(claims, profile, now=self._now(), leeway=self._leeway)
        return _Verified(admission, source, kid, key)

    def _now(self) -> float:
        return self._clock().timestamp()


@dataclass(frozen=True, slots=True)
class _Verified:
    admission: Admission
    source: KeySource
    kid: str
    key: Mapping[str, str]


def _judge_header(header: Mapping[str, Any]) -> tuple[str, str]:
    """The algorithm and the key's id; `jku`, `jwk`, `x5u`, `x5c` are none of our business."""
    for name in _REFUSED_HEADERS:
        if name in header:
            raise Refused(f"{name} in the header")
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in _TYPES:
        raise Refused("not an access token by its typ")
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in _NUMBERS:
        raise Refused("an algorithm we do not verify")
    if not isinstance(kid, str) or not 1 <= len(kid) <= MAX_KID_LENGTH:
        raise Refused("names no key")
    return algorithm, kid
