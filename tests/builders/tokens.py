"""Tokens as an issuer or a forger makes them: a test can choose every byte."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

NOW = datetime(2026, 12, 10, 12, 0, tzinfo=UTC)
EPOCH = int(NOW.timestamp())
ISSUER = "https://id.example.com/"
AUDIENCE = "holdfast"


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


@cache
def rsa_key(name: str, bits: int = 2048) -> rsa.RSAPrivateKey:
    """The key of a name, made once in each process."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@cache
def ec_key(name: str) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def rsa_jwk(key: rsa.RSAPrivateKey, kid: str, **members: Any) -> dict[str, Any]:
    numbers = key.public_key().public_numbers()
    return {"kty": "RSA", "kid": kid, "n": _int(numbers.n), "e": _int(numbers.e)} | members


def ec_jwk(key: ec.EllipticCurvePrivateKey, kid: str, **members: Any) -> dict[str, Any]:
    numbers = key.public_key().public_numbers()
    point = {"x": b64(numbers.x.to_bytes(32)), "y": b64(numbers.y.to_bytes(32))}
    return {"kty": "EC", "crv": "P-256", "kid": kid} | point | members


def public_bytes(key: rsa.RSAPrivateKey, shape: str) -> bytes:
    """What a forger takes for an HMAC secret: `pem`, `der`, `ssh`, `pkcs1` or `jwk`."""
    encoding = serialization.Encoding
    formats = serialization.PublicFormat
    match shape:
        case "pem":
            return key.public_key().public_bytes(encoding.PEM, formats.SubjectPublicKeyInfo)
        case "der":
            return key.public_key().public_bytes(encoding.DER, formats.SubjectPublicKeyInfo)
        case "pkcs1":
            return key.public_key().public_bytes(encoding.PEM, formats.PKCS1)
        case "ssh":
            return key.public_key().public_bytes(encoding.OpenSSH, formats.OpenSSH)
        case _:
            return json.dumps(rsa_jwk(key, "k1")).encode()


def sign_rs256(key: rsa.RSAPrivateKey, message: bytes) -> bytes:
    return key.sign(message, padding.PKCS1v15(), hashes.SHA256())


def sign_es256(key: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32) + s.to_bytes(32)


def sign_hs256(secret: bytes, message: bytes) -> bytes:
    return hmac.digest(secret, message, hashlib.sha256)


@dataclass(frozen=True, slots=True)
class Signer:
    """How a token is signed, and the header that says so."""

    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | bytes
    kid: str = "k1"

    @property
    def header(self) -> dict[str, Any]:
        if isinstance(self.key, bytes):
            algorithm = "HS256"
        else:
            algorithm = "RS256" if isinstance(self.key, rsa.RSAPrivateKey) else "ES256"
        return {"alg": algorithm, "typ": "JWT", "kid": self.kid}

    def sign(self, message: bytes) -> bytes:
        if isinstance(self.key, rsa.RSAPrivateKey):
            return sign_rs256(self.key, message)
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            return sign_es256(self.key, message)
        return sign_hs256(self.key, message)

    def token(
        self, claims: Mapping[str, Any] | bytes, header: Mapping[str, Any] | bytes | None = None
    ) -> str:
        """`header` replaces members of the usual one, or the whole of it where it is bytes."""
        if not isinstance(header, bytes):
            header = json.dumps(self.header | dict(header or {})).encode()
        if not isinstance(claims, bytes):
            claims = json.dumps(claims).encode()
        message = f"{b64(header)}.{b64(claims)}"
        return f"{message}.{b64(self.sign(message.encode()))}"


def claims(**members: Any) -> dict[str, Any]:
    """The claims of a good token; a member that is `...` is left out."""
    good = {
        "iss": ISSUER,
        "sub": "subject-1",
        "aud": AUDIENCE,
        "client_id": "client-1",
        "tenant_id": "tenant-1",
        "scope": "offers:read holds:write openid",
        "iat": EPOCH - 60,
        "exp": EPOCH + 600,
    }
    return {name: value for name, value in (good | members).items() if value is not ...}


def _int(value: int) -> str:
    return b64(value.to_bytes((value.bit_length() + 7) // 8))
