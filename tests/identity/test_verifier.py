"""The corpus: tokens that must be believed, and many more that must not."""

import json
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from app.identity.errors import Unauthenticated
from app.identity.keys import parse_jwks
from app.identity.principal import Principal, Scope
from app.identity.profile import IssuerProfile
from app.identity.verifier import Verifier
from app.ids import TenantId
from tests.builders.tokens import (
    AUDIENCE,
    EPOCH,
    ISSUER,
    NOW,
    Signer,
    b64,
    claims,
    ec_jwk,
    ec_key,
    public_bytes,
    rsa_jwk,
    rsa_key,
)

OTHER_ISSUER = "https://other.example.com/"
RSA = rsa_key("ours")
EC = ec_key("ours")
GOOD = Signer(RSA)
ELLIPTIC = Signer(EC, "e1")
OTHER = Signer(rsa_key("other issuer"), "o1")


class Keys:
    """A key source whose set the test changes; counts how often it is asked."""

    def __init__(self, *jwks: Mapping[str, Any]) -> None:
        self.asked = 0
        self.replace(*jwks)

    def replace(self, *jwks: Mapping[str, Any]) -> None:
        self._keys = parse_jwks({"keys": list(jwks)})

    async def key(self, kid: str) -> Mapping[str, str] | None:
        self.asked += 1
        return self._keys.get(kid)


class Clock:
    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def profile(**members: Any) -> IssuerProfile:
    usual: dict[str, Any] = {
        "issuer": ISSUER,
        "audiences": frozenset({AUDIENCE}),
        "algorithms": frozenset({"RS256", "ES256"}),
    }
    return IssuerProfile(**(usual | members))


def verifier(clock: Clock | None = None, *, keys: Keys | None = None, **options: Any) -> Verifier:
    ours = keys or Keys(rsa_jwk(RSA, "k1"), ec_jwk(EC, "e1"))
    other = IssuerProfile(issuer=OTHER_ISSUER, audiences=frozenset({AUDIENCE}))
    others = Keys(rsa_jwk(rsa_key("other issuer"), "o1"))
    return Verifier([(profile(), ours), (other, others)], clock=clock or Clock(), **options)


async def believed(token: str, of: IssuerProfile | None = None) -> Principal:
    keys = Keys(rsa_jwk(RSA, "k1"), ec_jwk(EC, "e1"))
    return await Verifier([(of or profile(), keys)], clock=Clock()).verify(token)


async def refused(token: str, of: IssuerProfile | None = None) -> None:
    with pytest.raises(Unauthenticated):
        await believed(token, of)


# --- believed ---------------------------------------------------------------------------------


async def test_good_token_names_its_principal() -> None:
    assert await verifier().verify(GOOD.token(claims())) == Principal(
        tenant_id=TenantId("tenant-1"),
        client_id="client-1",
        subject="subject-1",
        scopes=frozenset({Scope.OFFERS_READ, Scope.HOLDS_WRITE}),
    )


@pytest.mark.parametrize(
    ("changed", "header"),
    [
        ({"aud": ["elsewhere", AUDIENCE]}, {}),
        ({"iat": ..., "scope": ...}, {}),
        ({"nbf": EPOCH, "exp": EPOCH + 0.5}, {}),
        ({"nbf": EPOCH + 30, "iat": EPOCH + 30}, {}),
        ({"exp": EPOCH - 29}, {}),
        ({}, {"typ": "at+jwt"}),
        ({}, {"typ": "application/AT+JWT"}),
        # Where a forger says its keys are changes nothing, also not for the better.
        ({}, {"jku": "https://evil.example/jwks", "x5u": "https://evil.example/x", "x5c": ["MII"]}),
        ({}, {"jwk": rsa_jwk(rsa_key("forger"), "k1")}),
    ],
)
async def test_variants_of_a_good_token(changed: dict[str, Any], header: dict[str, Any]) -> None:
    assert (await verifier().verify(GOOD.token(claims(**changed), header))).tenant_id == "tenant-1"


async def test_typ_may_be_absent() -> None:
    header = json.dumps({"alg": "RS256", "kid": "k1"}).encode()
    assert (await verifier().verify(GOOD.token(claims(), header))).subject == "subject-1"


async def test_es256() -> None:
    assert (await verifier().verify(ELLIPTIC.token(claims()))).subject == "subject-1"


async def test_each_issuer_with_its_own_keys() -> None:
    token = OTHER.token(claims(iss=OTHER_ISSUER, sub="someone"))
    assert (await verifier().verify(token)).subject == "someone"


# --- refused ----------------------------------------------------------------------------------


def _without_signature(algorithm: object) -> str:
    header = {"alg": algorithm, "typ": "JWT", "kid": "k1"}
    return f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims()).encode())}."


def _resigned(part: int, replacement: str) -> str:
    segments = GOOD.token(claims()).split(".")
    segments[part] = replacement
    return ".".join(segments)


def _flipped() -> str:
    """One bit of the signature."""
    head, _, signature = GOOD.token(claims()).rpartition(".")
    return f"{head}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"


def _stray_bits() -> str:
    """The same signature spelt otherwise: 256 bytes leave four unused bits in the last letter."""
    token = GOOD.token(claims())
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return token[:-1] + alphabet[alphabet.index(token[-1]) + 1]


def _claims_text(members: str) -> bytes:
    return json.dumps(claims())[:-1].encode() + b"," + members.encode() + b"}"


FORGED: dict[str, str] = {
    # shape
    "empty": "",
    "dots": "..",
    "word": "Bearer",
    "two segments": GOOD.token(claims()).rpartition(".")[0],
    "four segments": GOOD.token(claims()) + ".AAAA",
    "five segments, as a JWE": "eyJhbGciOiJSU0EtT0FFUCIsInppcCI6IkRFRiJ9.AAAA.AAAA.AAAA.AAAA",
    "trailing dot": GOOD.token(claims()) + ".",
    "a space before": " " + GOOD.token(claims()),
    "a newline after": GOOD.token(claims()) + "\n",
    "NUL": GOOD.token(claims()) + "\0",
    "unicode": "é.é.é",
    "unicode digits": "１.２.３",
    "lone surrogate": "\ud800.\ud800.\ud800",
    "padded": _resigned(0, b64(b'{"alg":"RS256","kid":"k1"}') + "=="),
    "standard alphabet": _resigned(2, "+/+/"),
    "signature missing": _resigned(2, ""),
    "signature short": _resigned(2, "AAAA"),
    "signature flipped": _flipped(),
    "signature with stray bits": _stray_bits(),
    "signature of zeros": _resigned(2, b64(bytes(256))),
    "signature is the DER of another kind": GOOD.token(claims(), {"alg": "ES256", "kid": "e1"}),
    "claims replaced": _resigned(1, b64(json.dumps(claims(tenant_id="rival")).encode())),
    "header replaced": _resigned(0, b64(b'{"alg":"RS256","kid":"k1","typ":"at+jwt"}')),
    "just too long": GOOD.token(claims(padding="x" * 8192)),
    # header
    "header no JSON": GOOD.token(claims(), b"alg=RS256"),
    "header a list": GOOD.token(claims(), b'[{"alg":"RS256","kid":"k1"}]'),
    "header null": GOOD.token(claims(), b"null"),
    "header empty": GOOD.token(claims(), b"{}"),
    "header UTF-16": GOOD.token(claims(), '{"alg":"RS256","kid":"k1"}'.encode("utf-16")),
    "header not UTF-8": GOOD.token(claims(), b'{"alg":"RS256","kid":"k1","x":"\xff"}'),
    "header deep": GOOD.token(claims(), b"[" * 4000),
    "header deep inside": GOOD.token(claims(), b'{"a":' * 900 + b"1" + b"}" * 900),
    "alg twice": GOOD.token(claims(), b'{"alg":"none","alg":"RS256","kid":"k1"}'),
    "kid NaN": GOOD.token(claims(), b'{"alg":"RS256","kid":NaN}'),
    "none": _without_signature("none"),
    "None": _without_signature("None"),
    "NONE with a signature": GOOD.token(claims(), {"alg": "NONE"}),
    "alg missing": GOOD.token(claims(), b'{"kid":"k1"}'),
    "alg null": GOOD.token(claims(), {"alg": None}),
    "alg empty": GOOD.token(claims(), {"alg": ""}),
    "alg a list": GOOD.token(claims(), {"alg": ["RS256"]}),
    "alg an object": GOOD.token(claims(), {"alg": {"RS256": 1}}),
    "alg a number": GOOD.token(claims(), {"alg": 256}),
    "alg true": GOOD.token(claims(), {"alg": True}),
    "alg lower case": GOOD.token(claims(), {"alg": "rs256"}),
    "alg with a space": GOOD.token(claims(), {"alg": "RS256 "}),
    "alg RS512": GOOD.token(claims(), {"alg": "RS512"}),
    "alg PS256": GOOD.token(claims(), {"alg": "PS256"}),
    "alg unheard of": GOOD.token(claims(), {"alg": "XX999"}),
    "alg of a JWE": GOOD.token(claims(), {"alg": "dir", "enc": "A256GCM"}),
    "ES256 with an RSA key": GOOD.token(claims(), {"alg": "ES256"}),
    "RS256 with an EC key": ELLIPTIC.token(claims(), {"alg": "RS256"}),
    "HS256 with PEM": Signer(public_bytes(RSA, "pem")).token(claims()),
    "HS256 with DER": Signer(public_bytes(RSA, "der")).token(claims()),
    "HS256 with PKCS1": Signer(public_bytes(RSA, "pkcs1")).token(claims()),
    "HS256 with SSH": Signer(public_bytes(RSA, "ssh")).token(claims()),
    "HS256 with JWK": Signer(public_bytes(RSA, "jwk")).token(claims()),
    "HS256 with nothing": Signer(b"").token(claims()),
    "HS256 called RS256": Signer(public_bytes(RSA, "pem")).token(claims(), {"alg": "RS256"}),
    "crit": GOOD.token(claims(), {"crit": ["exp"]}),
    "crit empty": GOOD.token(claims(), {"crit": []}),
    "b64 false": GOOD.token(claims(), {"b64": False}),
    "b64 true": GOOD.token(claims(), {"b64": True}),
    "zip": GOOD.token(claims(), {"zip": "DEF"}),
    "typ of a logout token": GOOD.token(claims(), {"typ": "logout+jwt"}),
    "typ a number": GOOD.token(claims(), {"typ": 1}),
    "typ null": GOOD.token(claims(), {"typ": None}),
    "kid missing": GOOD.token(claims(), b'{"alg":"RS256"}'),
    "kid null": GOOD.token(claims(), {"kid": None}),
    "kid empty": GOOD.token(claims(), {"kid": ""}),
    "kid a number": GOOD.token(claims(), {"kid": 1}),
    "kid a list": GOOD.token(claims(), {"kid": ["k1"]}),
    "kid unknown": GOOD.token(claims(), {"kid": "k2"}),
    "kid long": GOOD.token(claims(), {"kid": "k" * 129}),
    "kid a path": GOOD.token(claims(), {"kid": "../../dev/null"}),
    "kid of another key": GOOD.token(claims(), {"kid": "e1"}),
    "kid of another issuer": OTHER.token(claims()),
    "key of another issuer under our kid": Signer(rsa_key("other issuer"), "k1").token(claims()),
    "our key for another issuer": GOOD.token(claims(iss=OTHER_ISSUER)),
    "key in the header": Signer(rsa_key("forger"), "f1").token(
        claims(), {"jwk": rsa_jwk(rsa_key("forger"), "f1")}
    ),
    "key in the header under our kid": Signer(rsa_key("forger")).token(
        claims(), {"jwk": rsa_jwk(rsa_key("forger"), "k1"), "jku": "https://evil.example/jwks"}
    ),
    # claims as a whole
    "claims no JSON": GOOD.token(b"hello"),
    "claims a list": GOOD.token(b"[]"),
    "claims a string": GOOD.token(b'"exp"'),
    "claims empty": GOOD.token(b""),
    "claims deep": GOOD.token(b"[" * 4000),
    "claims with a BOM": GOOD.token(b"\xef\xbb\xbf" + json.dumps(claims()).encode()),
    "a claim twice": GOOD.token(_claims_text('"tenant_id":"rival"')),
    "number of 5000 digits": GOOD.token(_claims_text('"x":' + "9" * 5000)),
    "exp NaN": GOOD.token(claims(exp=float("nan"))),
    "exp Infinity": GOOD.token(claims(exp=float("inf"))),
    "exp 1e999": GOOD.token(json.dumps(claims(exp=...))[:-1].encode() + b',"exp":1e999}'),
    "iss of nobody": GOOD.token(claims(iss="https://id.example.com")),
    "iss in capitals": GOOD.token(claims(iss=ISSUER.upper())),
    "sub empty": GOOD.token(claims(sub="")),
    "sub long": GOOD.token(claims(sub="s" * 256)),
    "sub with NUL": GOOD.token(claims(sub="a\0b")),
    "sub with a newline": GOOD.token(claims(sub="a\nb")),
    "sub a lone surrogate": GOOD.token(claims(sub="\ud800")),
    "aud of another": GOOD.token(claims(aud="holdfast2")),
    "aud empty list": GOOD.token(claims(aud=[])),
    "aud list of others": GOOD.token(claims(aud=["a", "b"])),
    "aud list with a number": GOOD.token(claims(aud=[AUDIENCE, 1])),
    "aud an object": GOOD.token(claims(aud={AUDIENCE: 1})),
    "client_id a list": GOOD.token(claims(client_id=["client-1"])),
    "client_id null": GOOD.token(claims(client_id=None)),
    "tenant with a slash": GOOD.token(claims(tenant_id="a/b")),
    "tenant with a newline": GOOD.token(claims(tenant_id="tenant-1\n")),
    "tenant long": GOOD.token(claims(tenant_id="t" * 65)),
    "tenant empty": GOOD.token(claims(tenant_id="")),
    "tenant unicode": GOOD.token(claims(tenant_id="ténant")),
    "tenant of braces": GOOD.token(claims(tenant_id="{a}")),
    "scope a number": GOOD.token(claims(scope=1)),
    "scope null": GOOD.token(claims(scope=None)),
    "scope list with a number": GOOD.token(claims(scope=["offers:read", 1])),
    # time
    "exp is now, less the leeway": GOOD.token(claims(exp=EPOCH - 30)),
    "expired long ago": GOOD.token(claims(exp=1)),
    "exp of zero": GOOD.token(claims(exp=0)),
    "exp negative": GOOD.token(claims(exp=-1)),
    "exp beyond the calendar": GOOD.token(claims(exp=10**12)),
    "exp of 400 digits": GOOD.token(claims(exp=10**400)),
    "nbf ahead": GOOD.token(claims(nbf=EPOCH + 31)),
    "iat ahead": GOOD.token(claims(iat=EPOCH + 31)),
    "nbf huge": GOOD.token(claims(nbf=10**400)),
    "iat negative": GOOD.token(claims(iat=-1)),
}


def _four_signed() -> str:
    """Four segments under one signature, as nobody but the issuer itself could make them."""
    head = GOOD.token(claims()).rpartition(".")[0] + ".AAAA"
    return f"{head}.{b64(GOOD.sign(head.encode()))}"


FORGED["four segments, all signed"] = _four_signed()

WRONG: dict[str, object] = {
    "null": None,
    "a list": [1],
    "an object": {},
    "true": True,
    "Infinity": float("inf"),
    "a float not finite": float("-inf"),
}


def test_corpus_is_a_corpus() -> None:
    assert len(FORGED) >= 60


@pytest.mark.parametrize("name", FORGED)
async def test_forged_token_is_refused(name: str) -> None:
    with pytest.raises(Unauthenticated):
        await verifier().verify(FORGED[name])


@pytest.mark.parametrize("claim", ["iss", "sub", "aud", "exp", "tenant_id"])
async def test_claim_is_required(claim: str) -> None:
    await refused(GOOD.token(claims(**{claim: ...})))


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("claim", ["iss", "sub", "aud", "exp", "iat", "nbf", "tenant_id"])
async def test_claim_of_another_type_is_refused(claim: str, wrong: str) -> None:
    await refused(GOOD.token(claims(**{claim: WRONG[wrong]})))


@pytest.mark.parametrize("claim", ["exp", "iat", "nbf"])
@pytest.mark.parametrize("text", [str(EPOCH), "", "inf", "NaN", "soon"])
async def test_instant_as_text_is_refused(claim: str, text: str) -> None:
    await refused(GOOD.token(claims(**{claim: text})))


@pytest.mark.parametrize("claim", ["iss", "sub", "tenant_id"])
async def test_name_as_a_number_is_refused(claim: str) -> None:
    await refused(GOOD.token(claims(**{claim: 1})))


async def test_algorithm_that_the_profile_does_not_list_is_refused() -> None:
    await refused(ELLIPTIC.token(claims()), profile(algorithms=frozenset({"RS256"})))


async def test_strange_key_in_the_set_is_no_more_than_a_refusal() -> None:
    off_the_curve = ec_jwk(EC, "e1", y=ec_jwk(EC, "e1")["x"])
    odd = verifier(keys=Keys(off_the_curve))
    with pytest.raises(Unauthenticated):
        await odd.verify(ELLIPTIC.token(claims()))


async def test_key_source_that_breaks_is_no_more_than_a_refusal() -> None:
    class Broken:
        async def key(self, kid: str) -> Mapping[str, str] | None:
            raise OverflowError(kid)

    broken = Verifier([(profile(), Broken())], clock=Clock())
    with pytest.raises(Unauthenticated):
        await broken.verify(GOOD.token(claims()))


@pytest.mark.parametrize(
    "name",
    [
        "just too long",
        "crit",
        "alg null",
        "HS256 with DER",
        "kid missing",
        "kid long",
        "claims deep",
    ],
)
async def test_no_key_is_looked_up_for_an_odd_token(name: str) -> None:
    keys = Keys(rsa_jwk(RSA, "k1"))
    with pytest.raises(Unauthenticated):
        await verifier(keys=keys).verify(FORGED[name])
    assert keys.asked == 0


async def test_key_of_another_kind_never_reaches_the_library() -> None:
    with structlog.testing.capture_logs() as logged, pytest.raises(Unauthenticated):
        await verifier().verify(FORGED["ES256 with an RSA key"])
    assert logged[0]["reason"] == "the algorithm does not fit the key"


async def test_huge_token_is_refused_before_it_is_read() -> None:
    judge = verifier()
    megabyte = "A" * 350_000
    started = time.perf_counter()
    for token in [f"{megabyte}.{megabyte}.{megabyte}", "." * 1_000_000, "é" * 1_000_000]:
        with pytest.raises(Unauthenticated):
            await judge.verify(token)
    assert time.perf_counter() - started < 0.03  # microseconds, with room for a busy machine


async def test_refusals_are_all_alike_and_the_reason_stays_inside() -> None:
    answers = set()
    with structlog.testing.capture_logs() as logged:
        for name in ("expired long ago", "kid unknown", "signature flipped", "aud of another"):
            with pytest.raises(Unauthenticated) as refusal:
                await verifier().verify(FORGED[name])
            answers.add((refusal.value.detail, repr(refusal.value.facts)))
    assert len(answers) == 1
    assert {entry["log_level"] for entry in logged} == {"debug"}
    assert len({entry["reason"] for entry in logged}) == 4
    token = FORGED["expired long ago"]
    assert not any(segment in repr(logged) for segment in token.split("."))


@given(st.text(max_size=60) | st.from_regex(r"[A-Za-z0-9_-]{0,20}(\.[A-Za-z0-9_-]{0,20}){0,4}"))
async def test_garbage_is_refused(token: str) -> None:
    with pytest.raises(Unauthenticated):
        await verifier().verify(token)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(sorted(claims())), _json, min_size=1))
async def test_signed_claims_of_any_kind_end_in_a_principal_or_a_refusal(
    changed: dict[str, Any],
) -> None:
    try:
        principal = await verifier().verify(GOOD.token(claims(**changed)))
    except Unauthenticated:
        return
    assert principal.subject.isprintable()


# --- providers --------------------------------------------------------------------------------

COGNITO = profile(
    provider="cognito",
    audiences=frozenset(),
    client_ids=frozenset({"client-1"}),
    scope_prefix="holdfast/",
    tenant_claim="custom:tenant",
)
COGNITO_CLAIMS: dict[str, Any] = {
    "aud": ...,
    "token_use": "access",
    "custom:tenant": "tenant-9",
    "scope": "holdfast/offers:read offers/holds:write holds:write aws.cognito.signin.user.admin",
}
AUTH0 = profile(provider="auth0", scope_claim="permissions", client_ids=frozenset({"app-1"}))
AUTH0_CLAIMS: dict[str, Any] = {
    "client_id": ...,
    "azp": "app-1",
    "sub": "app-1@clients",
    "aud": [AUDIENCE, "https://tenant.auth0.example/userinfo"],
    "permissions": ["events:read", "other:thing"],
}
OKTA = profile(provider="okta", scope_claim="scp")
OKTA_CLAIMS: dict[str, Any] = {"client_id": ..., "cid": "0oa1", "scp": ["bookings:write"]}


@pytest.mark.parametrize(
    ("of", "changed", "expected"),
    [
        (COGNITO, COGNITO_CLAIMS, ("tenant-9", "client-1", {Scope.OFFERS_READ})),
        (AUTH0, AUTH0_CLAIMS, ("tenant-1", "app-1", {Scope.EVENTS_READ})),
        (OKTA, OKTA_CLAIMS, ("tenant-1", "0oa1", {Scope.BOOKINGS_WRITE})),
        (profile(), {"client_id": ..., "azp": "web", "scope": ""}, ("tenant-1", "web", set())),
        (profile(), {"client_id": ..., "scope": []}, ("tenant-1", "subject-1", set())),
    ],
    ids=["cognito", "auth0", "okta", "azp", "no client"],
)
async def test_provider_tokens(
    of: IssuerProfile, changed: dict[str, Any], expected: tuple[str, str, set[Scope]]
) -> None:
    principal = await believed(GOOD.token(claims(**changed)), of)
    assert (principal.tenant_id, principal.client_id, set(principal.scopes)) == expected


@pytest.mark.parametrize(
    ("of", "changed"),
    [
        (COGNITO, COGNITO_CLAIMS | {"token_use": "id", "aud": "client-1"}),
        (COGNITO, COGNITO_CLAIMS | {"token_use": ...}),
        (COGNITO, COGNITO_CLAIMS | {"token_use": ["access"]}),
        (COGNITO, COGNITO_CLAIMS | {"client_id": "client-2"}),
        (COGNITO, COGNITO_CLAIMS | {"client_id": ...}),
        (COGNITO, COGNITO_CLAIMS | {"client_id": ["client-1"]}),
        (AUTH0, AUTH0_CLAIMS | {"azp": "app-2"}),
        (AUTH0, AUTH0_CLAIMS | {"azp": ...}),
        (AUTH0, AUTH0_CLAIMS | {"aud": "app-1"}),
        (AUTH0, AUTH0_CLAIMS | {"aud": ...}),
        (OKTA, OKTA_CLAIMS | {"aud": ...}),
        (OKTA, OKTA_CLAIMS | {"scp": {"bookings:write": True}}),
        (profile(), COGNITO_CLAIMS),
        (
            profile(provider="cognito", client_ids=frozenset({"client-1"})),
            {"token_use": "access", "aud": "elsewhere"},
        ),
    ],
)
async def test_token_of_another_provider_or_client_is_refused(
    of: IssuerProfile, changed: dict[str, Any]
) -> None:
    await refused(GOOD.token(claims(**changed)), of)


# --- time and memory --------------------------------------------------------------------------


@pytest.mark.parametrize("seen_before", [False, True])
async def test_token_ends_exactly_leeway_after_exp(seen_before: bool) -> None:
    clock = Clock()
    judge = verifier(clock)
    token = GOOD.token(claims(exp=EPOCH + 100))
    if seen_before:
        await judge.verify(token)
    clock.pass_by(129.999)
    await judge.verify(token)
    clock.pass_by(0.001)
    with pytest.raises(Unauthenticated):
        await judge.verify(token if seen_before else GOOD.token(claims(exp=EPOCH + 100)))


async def test_remembered_token_is_not_checked_again() -> None:
    judge = verifier()
    token = GOOD.token(claims())
    assert await judge.verify(token) is await judge.verify(token)


async def test_remembered_token_ends_with_its_key() -> None:
    keys = Keys(rsa_jwk(RSA, "k1"))
    judge = verifier(keys=keys)
    token = GOOD.token(claims())
    await judge.verify(token)
    keys.replace()
    with pytest.raises(Unauthenticated):
        await judge.verify(token)
    keys.replace(rsa_jwk(rsa_key("rotated"), "k1"))  # the same id, another key
    with pytest.raises(Unauthenticated):
        await judge.verify(token)
    keys.replace(rsa_jwk(RSA, "k1"))
    await judge.verify(token)


async def test_memory_is_bounded_and_keeps_the_busy() -> None:
    judge = verifier(cache_size=3)
    busy = GOOD.token(claims(sub="busy"))
    first = await judge.verify(busy)
    for number in range(8):
        await judge.verify(GOOD.token(claims(sub=f"passer-by {number}")))
        assert await judge.verify(busy) is first
    idle = GOOD.token(claims(sub="idle"))
    once = await judge.verify(idle)
    for number in range(3):
        await judge.verify(GOOD.token(claims(sub=f"another {number}")))
    again = await judge.verify(idle)
    assert again == once
    assert again is not once


def test_two_profiles_of_one_issuer_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="two profiles"):
        Verifier([(profile(), Keys()), (profile(), Keys())], clock=Clock())
