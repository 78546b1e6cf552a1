"""OIDC_ISSUERS: what a profile means, and one clear line for each mistake."""

from typing import Any

import pytest

from app.identity.profile import IssuerProfile, parse_profiles

GOOD: dict[str, Any] = {"issuer": "https://id.example.com/", "audience": "holdfast"}


def test_least_profile() -> None:
    assert parse_profiles([GOOD]) == (
        IssuerProfile(issuer="https://id.example.com/", audiences=frozenset({"holdfast"})),
    )


def test_full_profile() -> None:
    (read,) = parse_profiles(
        [
            {
                "issuer": "https://cognito-idp.sa-east-1.example.com/pool",
                "jwks_uri": "https://cognito-idp.sa-east-1.example.com/pool/keys",
                "provider": "cognito",
                "client_ids": ["a", "b"],
                "tenant_claim": "custom:tenant",
                "scope_claim": "scope",
                "scope_prefix": "holdfast/",
                "algorithms": ["RS256", "ES256"],
            }
        ]
    )
    assert read.audiences == frozenset()
    assert read.client_ids == {"a", "b"}
    assert read.algorithms == {"RS256", "ES256"}
    assert (read.tenant_claim, read.scope_prefix) == ("custom:tenant", "holdfast/")


def test_okta_lists_its_scopes_elsewhere() -> None:
    assert parse_profiles([GOOD | {"provider": "okta"}])[0].scope_claim == "scp"
    own = GOOD | {"provider": "okta", "scope_claim": "scope"}
    assert parse_profiles([own])[0].scope_claim == "scope"


@pytest.mark.parametrize(
    "issuer", ["http://localhost:8000/dev/oidc", "http://127.0.0.1:9/x", "http://[::1]/x"]
)
def test_http_is_for_this_machine(issuer: str) -> None:
    assert parse_profiles([GOOD | {"issuer": issuer}])[0].issuer == issuer


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        (GOOD | {"issuer": "http://id.example.com/"}, "OIDC_ISSUERS[0].issuer: must be an https"),
        (GOOD | {"issuer": "http://localhost.evil.example/"}, "OIDC_ISSUERS[0].issuer"),
        (GOOD | {"issuer": "http://localhost@evil.example/"}, "OIDC_ISSUERS[0].issuer"),
        (GOOD | {"issuer": "https://user:pass@id.example.com/"}, "OIDC_ISSUERS[0].issuer"),
        (GOOD | {"issuer": "https://id.example.com/#x"}, "OIDC_ISSUERS[0].issuer"),
        (GOOD | {"issuer": "https://id.example.com:port/"}, "OIDC_ISSUERS[0].issuer"),
        (GOOD | {"issuer": "https://id.example.com/a b"}, "OIDC_ISSUERS[0].issuer"),
        (GOOD | {"issuer": "id.example.com"}, "OIDC_ISSUERS[0].issuer"),
        (GOOD | {"issuer": "file:///etc/passwd"}, "OIDC_ISSUERS[0].issuer"),
        (GOOD | {"issuer": 1}, "OIDC_ISSUERS[0].issuer"),
        (GOOD | {"jwks_uri": "http://169.254.169.254/keys"}, "OIDC_ISSUERS[0].jwks_uri"),
        ({"audience": "holdfast"}, "OIDC_ISSUERS[0].issuer"),
        ({"issuer": "https://id.example.com/"}, "OIDC_ISSUERS[0].audience: is required"),
        (GOOD | {"audience": ""}, "OIDC_ISSUERS[0].audience"),
        (GOOD | {"audience": []}, "OIDC_ISSUERS[0].audience"),
        (GOOD | {"audience": ["a", 1]}, "OIDC_ISSUERS[0].audience[1]"),
        (GOOD | {"provider": "cognito"}, "OIDC_ISSUERS[0].client_ids: is required"),
        (GOOD | {"provider": "keycloak"}, "OIDC_ISSUERS[0].provider"),
        (GOOD | {"client_ids": "a"}, "OIDC_ISSUERS[0].client_ids"),
        (GOOD | {"algorithms": ["HS256"]}, "OIDC_ISSUERS[0].algorithms[0]"),
        (GOOD | {"algorithms": []}, "OIDC_ISSUERS[0].algorithms"),
        (GOOD | {"algorithms": "RS256"}, "OIDC_ISSUERS[0].algorithms"),
        (GOOD | {"tenant_claim": ""}, "OIDC_ISSUERS[0].tenant_claim"),
        (GOOD | {"audiences": "x"}, "OIDC_ISSUERS[0].audiences: is not a member"),
        ("https://id.example.com/", "OIDC_ISSUERS[0]: "),
        (None, "OIDC_ISSUERS[0]: "),
    ],
)
def test_mistake_is_named_in_one_line(entry: object, named: str) -> None:
    with pytest.raises(ValueError, match="OIDC_ISSUERS") as mistake:
        parse_profiles([entry])
    assert str(mistake.value).startswith(named)
    assert "\n" not in str(mistake.value)


def test_second_entry_is_named_by_its_place() -> None:
    with pytest.raises(ValueError, match=r"OIDC_ISSUERS\[1\]\.issuer: .* is listed twice"):
        parse_profiles([GOOD, GOOD])


def test_number_of_issuers_is_bounded() -> None:
    many = [GOOD | {"issuer": f"https://id{number}.example.com/"} for number in range(17)]
    with pytest.raises(ValueError, match="at most 16"):
        parse_profiles(many)
