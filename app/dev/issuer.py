"""The OpenID Connect issuer of `holdfast dev`: four clients whose secret is their name.

The API serves it at /dev/oidc, so that Authorize on the docs page works without a network. It implements the
client_credentials grant of RFC 6749 and nothing more. All workers and restarts share one key,
DATA_DIR/dev-issuer.json, which the first process creates. With ENVIRONMENT=production it is not started.
"""

import base64
import binascii
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, Router

from app.clock import Clock
from app.identity.encoding import encode_base64url
from app.identity.keys import KeySource, parse_jwks
from app.identity.principal import Scope
from app.identity.profile import IssuerProfile

AUDIENCE = "holdfast"
TOKEN_SECONDS = 3600
KEY_FILE = "dev-issuer.json"
MAX_FORM_BYTES = 8192

_PARTNER = tuple(scope for scope in Scope if scope is not Scope.INVENTORY_ADMIN)
CLIENTS: Mapping[str, tuple[Scope, ...]] = {
    "demo": _PARTNER,
    "rival": _PARTNER,
    "ops": tuple(Scope),
    "limited": _PARTNER,
}
"""The scopes of each client. Its secret and its tenant are its name."""


def dev_issuer_app(data_dir: Path, issuer_url: str, clock: Clock) -> Router:
    """An ASGI app to mount at the path of `issuer_url`.

    It is a router and not an application, so that its 404 and 405 are answered by the application
    it is mounted in, in the one shape of all errors.
    """
    key = _load_or_create(data_dir)

    async def discovery(_: Request) -> JSONResponse:
        return JSONResponse(_discovery_document(issuer_url))

    async def jwks(_: Request) -> JSONResponse:
        return JSONResponse({"keys": [key.public_jwk]})

    async def token(request: Request) -> JSONResponse:
        try:
            client_id, scopes = _grant(request, await _form(request))
        except _TokenError as error:
            return error.answer()
        answer = {
            "access_token": _mint(key, issuer_url, client_id, scopes, clock),
            "token_type": "Bearer",
            "expires_in": TOKEN_SECONDS,
            "scope": " ".join(scopes),
        }
        return JSONResponse(answer, headers=_NO_STORE)

    return Router(
        routes=[
            Route("/.well-known/openid-configuration", discovery, methods=["GET"]),
            Route("/jwks", jwks, methods=["GET"]),
            Route("/token", token, methods=["POST"]),
        ]
    )


def dev_profile(issuer_url: str) -> IssuerProfile:
    return IssuerProfile(
        issuer=issuer_url, audiences=frozenset({AUDIENCE}), client_ids=frozenset(CLIENTS)
    )


def dev_keys(data_dir: Path) -> KeySource:
    """The issuer's own key, without an HTTP request to a server that may be this process."""
    return _LocalKeys(parse_jwks({"keys": [_load_or_create(data_dir).public_jwk]}))


def mint_token(data_dir: Path, issuer_url: str, client_id: str, clock: Clock) -> str:
    """The token that the token endpoint returns to this client for an empty scope.

    Raises ValueError for a client that does not exist.
    """
    if client_id not in CLIENTS:
        raise ValueError(f"there is no client {client_id!r}; the clients are {', '.join(CLIENTS)}")
    return _mint(_load_or_create(data_dir), issuer_url, client_id, CLIENTS[client_id], clock)


_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class _TokenError(Exception):
    """An error of RFC 6749, section 5.2."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.error = error
        self.description = description
        self.status = status

    def answer(self) -> JSONResponse:
        challenge = {"WWW-Authenticate": 'Basic realm="holdfast dev"'} if self.status == 401 else {}
        return JSONResponse(
            {"error": self.error, "error_description": self.description},
            status_code=self.status,
            headers={**_NO_STORE, **challenge},
        )


async def _form(request: Request) -> dict[str, str]:
    """The body's parameters; those without a value count as omitted (RFC 6749, section 3.2)."""
    media_type = request.headers.get("Content-Type", "").split(";")[0].strip().lower()
    if media_type != "application/x-www-form-urlencoded":
        raise _TokenError("invalid_request", "Send application/x-www-form-urlencoded.")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM_BYTES:
            raise _TokenError("invalid_request", f"At most {MAX_FORM_BYTES} bytes.", 413)
    try:
        pairs = parse_qsl(body.decode("utf-8"), errors="strict", max_num_fields=16)
    except ValueError:
        raise _TokenError("invalid_request", "The form is not valid.") from None
    form = dict(pairs)
    if len(form) != len(pairs):
        raise _TokenError("invalid_request", "A parameter is repeated.")
    return form


def _grant(request: Request, form: Mapping[str, str]) -> tuple[str, tuple[Scope, ...]]:
    """The client that may have a token, and the scopes it gets."""
    client_id = _authenticate(request, form)
    match form.get("grant_type"):
        case "client_credentials":
            pass
        case None:
            raise _TokenError("invalid_request", "grant_type is missing.")
        case _:
            raise _TokenError("unsupported_grant_type", "Only client_credentials is supported.")
    allowed = CLIENTS[client_id]
    wanted = form.get("scope", "").split()
    if not set(wanted) <= set(allowed):
        raise _TokenError("invalid_scope", f"{client_id} may have: {' '.join(allowed)}")
    return client_id, tuple(scope for scope in allowed if not wanted or scope in wanted)


def _authenticate(request: Request, form: Mapping[str, str]) -> str:
    authorization = request.headers.get("Authorization")
    if authorization is None:
        client_id, secret = form.get("client_id", ""), form.get("client_secret", "")
    else:
        if "client_secret" in form:
            raise _TokenError("invalid_request", "Send the secret in one place only.")
        client_id, secret = _basic(authorization)
        if form.get("client_id", client_id) != client_id:
            raise _TokenError("invalid_request", "The header and the form name different clients.")
    # The secret of a client is its name, in this issuer alone.
    right = hmac.compare_digest(client_id.encode(), secret.encode())
    if client_id not in CLIENTS or not right:
        raise _invalid_client()
    return client_id


def _basic(authorization: str) -> tuple[str, str]:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        raise _invalid_client()
    try:
        pair = base64.b64decode(encoded.strip(), validate=True).decode("utf-8")
        client_id, colon, secret = pair.partition(":")
        if not colon:
            raise _invalid_client()
        # RFC 6749, section 2.3.1: both halves are form-encoded before they are joined.
        return unquote_plus(client_id, errors="strict"), unquote_plus(secret, errors="strict")
    except (binascii.Error, UnicodeError, ValueError):
        raise _invalid_client() from None


def _invalid_client() -> _TokenError:
    return _TokenError("invalid_client", "Unknown client or wrong secret.", 401)


def _discovery_document(issuer_url: str) -> dict[str, Any]:
    base = issuer_url.rstrip("/")
    return {
        "issuer": issuer_url,
        "token_endpoint": f"{base}/token",
        "jwks_uri": f"{base}/jwks",
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "scopes_supported": [scope.value for scope in Scope],
        "response_types_supported": ["token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    }


@dataclass(frozen=True, slots=True)
class _SigningKey:
    private: rsa.RSAPrivateKey
    public_jwk: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _LocalKeys:
    keys: Mapping[str, Mapping[str, str]]

    async def key(self, kid: str) -> Mapping[str, str] | None:
        return self.keys.get(kid)


def _mint(
    key: _SigningKey, issuer_url: str, client_id: str, scopes: tuple[Scope, ...], clock: Clock
) -> str:
    now = int(clock().timestamp())
    header = {"alg": "RS256", "typ": "at+jwt", "kid": key.public_jwk["kid"]}
    claims = {
        "iss": issuer_url,
        "sub": client_id,
        "aud": AUDIENCE,
        "client_id": client_id,
        "tenant_id": client_id,
        "scope": " ".join(scopes),
        "iat": now,
        "exp": now + TOKEN_SECONDS,
        "jti": secrets.token_urlsafe(16),
    }
    signed = ".".join(encode_base64url(json.dumps(part).encode()) for part in (header, claims))
    signature = key.private.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{signed}.{encode_base64url(signature)}"


def _load_or_create(data_dir: Path) -> _SigningKey:
    path = data_dir / KEY_FILE
    try:
        return _load(path)
    except FileNotFoundError:
        _create(path)
        return _load(path)


def _load(path: Path) -> _SigningKey:
    text = path.read_text()
    try:
        pem = json.loads(text)["private_key"]
        private = serialization.load_pem_private_key(pem.encode(), password=None)
        if not isinstance(private, rsa.RSAPrivateKey):
            raise TypeError("not an RSA key")
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ValueError(
            f"{path} does not contain the issuer's key; delete it to create a new one"
        ) from None
    public = private.public_key().public_numbers()
    numbers = {"e": _number(public.e), "kty": "RSA", "n": _number(public.n)}
    # RFC 7638: the id of a key is the digest of its members, sorted.
    thumbprint = hashlib.sha256(json.dumps(numbers, separators=(",", ":")).encode()).digest()
    kid = encode_base64url(thumbprint)
    return _SigningKey(private, {**numbers, "kid": kid, "use": "sig", "alg": "RS256"})


def _create(path: Path) -> None:
    """Creates the file completely or not at all. If another process was faster, its key stays."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump({"private_key": pem.decode()}, file)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)  # unlike a rename, this never replaces
    except FileExistsError:
        pass
    finally:
        draft.unlink(missing_ok=True)


def _number(value: int) -> str:
    return encode_base64url(value.to_bytes((value.bit_length() + 7) // 8))
