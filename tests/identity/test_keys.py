"""The key cache under rotation, outage, slowness, rubbish and a flood of unknown ids."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from app.identity.keys import MAX_ABSENT_KIDS, MAX_KEYS, CachedKeys, parse_jwks
from tests.builders.tokens import b64, ec_jwk, ec_key, rsa_jwk, rsa_key

K1 = rsa_jwk(rsa_key("ours"), "k1")
K2 = rsa_jwk(rsa_key("other issuer"), "k2")
E1 = ec_jwk(ec_key("ours"), "e1")


class Issuer:
    """Answers with `answer`, raises it if it is an exception, waits while `gate` is closed."""

    def __init__(self, *jwks: Mapping[str, Any]) -> None:
        self.answer: Any = {"keys": list(jwks)}
        self.fetches = 0
        self.asked = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def fetch(self) -> Mapping[str, Any]:
        self.fetches += 1
        self.asked.set()
        await self.gate.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        answer: Mapping[str, Any] = self.answer
        return answer


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Rig:
    def __init__(self, *jwks: Mapping[str, Any]) -> None:
        self.issuer = Issuer(*jwks)
        self.time = Time()
        self.keys = CachedKeys(self.issuer.fetch, monotonic=self.time, fetch_timeout=0.05)

    async def has(self, kid: str) -> bool:
        return await self.keys.key(kid) is not None

    async def settled(self) -> None:
        """Until a refresh in the background is over."""
        for task in asyncio.all_tasks():
            if task.get_name() == "jwks-refresh":
                await asyncio.wait([task])


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig(K1)
    yield made
    await made.keys.aclose()


async def test_first_callers_share_one_fetch(rig: Rig) -> None:
    assert all(await asyncio.gather(*(rig.has("k1") for _ in range(100))))
    assert rig.issuer.fetches == 1


async def test_key_at_hand_costs_no_fetch(rig: Rig) -> None:
    for _ in range(29):
        assert await rig.has("k1")
        rig.time.now += 10
    assert rig.issuer.fetches == 1


async def test_old_set_serves_while_the_new_one_is_fetched(rig: Rig) -> None:
    await rig.has("k1")
    rig.issuer.answer = {"keys": [K2]}
    rig.issuer.gate.clear()
    rig.time.now += 301
    assert await rig.has("k1")  # answered although the issuer has not
    rig.issuer.gate.set()
    await rig.settled()
    assert not await rig.has("k1")
    assert await rig.has("k2")
    assert rig.issuer.fetches == 2


async def test_withdrawn_key_is_gone_at_once_where_nobody_came_by(rig: Rig) -> None:
    await rig.has("k1")
    rig.issuer.answer = {"keys": [K2]}
    rig.time.now += 3600
    assert not await rig.has("k1")


async def test_withdrawing_everything_is_believed(rig: Rig) -> None:
    await rig.has("k1")
    rig.issuer.answer = {"keys": []}
    rig.time.now += 3600
    assert not await rig.has("k1")


async def test_new_key_is_found_when_it_is_first_named(rig: Rig) -> None:
    await rig.has("k1")
    rig.issuer.answer = {"keys": [K1, K2]}
    rig.time.now += 11
    assert await rig.has("k2")
    assert rig.issuer.fetches == 2


@pytest.mark.parametrize(
    "answer",
    [
        OSError("unreachable"),
        {},
        {"keys": None},
        {"keys": {"k1": K1}},
        {"keys": ["k1"]},
        {"keys": [K1] * (MAX_KEYS + 1)},
        [],
        "rubbish",
        None,
    ],
    ids=["unreachable", "empty", "null", "object", "texts", "too-many", "list", "rubbish", "none"],
)
async def test_known_key_outlives_a_bad_answer_until_the_hard_limit(rig: Rig, answer: Any) -> None:
    await rig.has("k1")
    rig.issuer.answer = answer
    for _ in range(24):
        rig.time.now += 3599
        assert await rig.has("k1")
    rig.time.now += 60
    assert not await rig.has("k1")
    rig.issuer.answer = {"keys": [K1]}
    rig.time.now += 11
    assert await rig.has("k1")


async def test_issuer_that_hangs_delays_nobody_who_has_a_known_key(rig: Rig) -> None:
    await rig.has("k1")
    rig.issuer.gate.clear()
    rig.time.now += 301
    assert await rig.has("k1")
    assert not await rig.has("k9")  # waits for the timeout, and then knows no better
    for _ in range(50):
        rig.time.now += 300
        async with asyncio.timeout(0.04):  # less than a fetch is given
            assert await rig.has("k1")
    rig.issuer.gate.set()
    await rig.settled()


async def test_flood_of_unknown_ids_asks_once_in_ten_seconds(rig: Rig) -> None:
    await rig.has("k1")
    rig.time.now += 20
    before = rig.issuer.fetches
    for number in range(10_000):
        assert not await rig.has(f"unknown-{number}")
        rig.time.now += 0.01  # 100 seconds in all
    assert rig.issuer.fetches - before <= 10
    assert await rig.has("k1")


async def test_flood_at_once_asks_once(rig: Rig) -> None:
    await rig.has("k1")
    rig.time.now += 20
    found = await asyncio.gather(*(rig.has(f"unknown-{number}") for number in range(10_000)))
    assert not any(found)
    assert rig.issuer.fetches == 2
    assert len(rig.keys._absent) <= MAX_ABSENT_KIDS


async def test_absent_id_is_remembered_for_a_minute(rig: Rig) -> None:
    await rig.has("k1")
    rig.time.now += 11
    for _ in range(5):
        assert not await rig.has("k9")
        rig.time.now += 11
    assert rig.issuer.fetches == 2
    rig.time.now += 11
    rig.issuer.answer = {"keys": [K1, K1 | {"kid": "k9"}]}
    assert await rig.has("k9")


async def test_id_is_not_called_absent_by_an_issuer_that_is_away(rig: Rig) -> None:
    await rig.has("k1")
    rig.time.now += 11
    rig.issuer.answer = OSError("unreachable")
    assert not await rig.has("k2")
    rig.issuer.answer = {"keys": [K1, K2]}
    rig.time.now += 11
    assert await rig.has("k2")


async def test_issuer_that_was_away_at_the_start_is_asked_again(rig: Rig) -> None:
    rig.issuer.answer = OSError("unreachable")
    assert not await rig.has("k1")
    rig.issuer.answer = {"keys": [K1]}
    assert not await rig.has("k1")
    rig.time.now += 10
    assert await rig.has("k1")


async def test_caller_who_leaves_does_not_take_the_fetch_along(rig: Rig) -> None:
    rig.issuer.gate.clear()
    leaving = asyncio.create_task(rig.has("k1"))
    staying = asyncio.create_task(rig.has("k1"))
    await rig.issuer.asked.wait()
    leaving.cancel()
    rig.issuer.gate.set()
    assert await staying
    assert rig.issuer.fetches == 1


async def test_close_ends_a_fetch_under_way(rig: Rig) -> None:
    await rig.has("k1")
    rig.issuer.gate.clear()
    rig.time.now += 301
    assert await rig.has("k1")
    await rig.keys.aclose()
    await rig.settled()


# --- which keys are usable --------------------------------------------------------------------


def test_usable_keys_are_rebuilt_from_their_numbers() -> None:
    noisy = K1 | {"d": "AQAB", "x5c": ["MII"], "x5u": "https://evil.example", "use": "sig"}
    keys = parse_jwks({"keys": [noisy, E1 | {"alg": "ES256", "key_ops": ["verify"]}]})
    assert set(keys) == {"k1", "e1"}
    assert keys["k1"] == {"kty": "RSA", "alg": "RS256", "kid": "k1", "n": K1["n"], "e": "AQAB"}
    assert set(keys["e1"]) == {"kty", "alg", "kid", "crv", "x", "y"}


def test_modulus_with_leading_zeros_is_the_same_key() -> None:
    modulus = rsa_key("ours").public_key().public_numbers().n
    padded = K1 | {"n": b64(modulus.to_bytes(257))}
    assert parse_jwks({"keys": [padded]}) == parse_jwks({"keys": [K1]})


@pytest.mark.parametrize(
    "jwk",
    [
        {"kty": "oct", "kid": "k1", "k": "AAAA", "alg": "HS256"},
        {"kty": "OKP", "kid": "k1", "crv": "Ed25519", "x": "AAAA"},
        {"kid": "k1"},
        K1 | {"kty": ["RSA"]},
        K1 | {"kty": "EC"},
        K1 | {"use": "enc"},
        K1 | {"use": None},
        K1 | {"key_ops": ["sign"]},
        K1 | {"key_ops": "verify"},
        K1 | {"alg": "RS512"},
        K1 | {"alg": "HS256"},
        K1 | {"alg": None},
        K1 | {"kid": ""},
        K1 | {"kid": 1},
        K1 | {"kid": "k" * 129},
        {name: value for name, value in K1.items() if name != "kid"},
        {name: value for name, value in K1.items() if name != "e"},
        {name: value for name, value in K1.items() if name != "n"},
        K1 | {"e": ""},
        K1 | {"e": b64(b"\x01")},
        K1 | {"e": b64(b"\x04")},
        K1 | {"e": b64(b"\x01" * 5)},
        K1 | {"n": 65537},
        K1 | {"n": K1["n"] + "="},
        K1 | {"n": b64(b"\xff" * 1025)},
        K1 | {"n": "A" * 40_000},
        rsa_jwk(rsa_key("small", 1024), "k1"),
        E1 | {"crv": "P-384"},
        E1 | {"crv": "secp256k1"},
        E1 | {"x": b64(b"\x01" * 31)},
        E1 | {"y": b64(b"\x01" * 33)},
        E1 | {"y": None},
        E1 | {"alg": "RS256"},
    ],
)
def test_other_keys_are_passed_over(jwk: dict[str, Any]) -> None:
    assert set(parse_jwks({"keys": [jwk, K2]})) == {"k2"}


def test_id_borne_by_two_keys_is_nobodys() -> None:
    twice = [K1, K2 | {"kid": "k1"}, E1]
    assert set(parse_jwks({"keys": twice})) == {"e1"}
    assert set(parse_jwks({"keys": [K1, K2 | {"kid": "k1", "use": "enc"}]})) == {"k1"}
