"""Ids name the same thing each time, and nothing else ever."""

from hypothesis import given
from hypothesis import strategies as st

from app import ids
from app.ids import TenantId

texts = st.text(max_size=20)


@given(texts, texts, texts, texts)
def test_no_two_keys_share_a_hold(tenant: str, key: str, other_tenant: str, other: str) -> None:
    one = ids.hold_id(TenantId(tenant), key, 1)
    two = ids.hold_id(TenantId(other_tenant), other, 1)
    assert (one == two) == ((tenant, key) == (other_tenant, other))
    assert one != ids.hold_id(TenantId(tenant), key, 2)
    assert ids.is_hold_id(one)


def test_a_hold_becomes_one_booking() -> None:
    hold = ids.hold_id(TenantId("demo"), "key", 1)
    assert ids.booking_id(hold) == ids.booking_id(hold)
    assert ids.is_booking_id(ids.booking_id(hold))
    assert not ids.is_booking_id(hold)
    assert not ids.is_hold_id(ids.booking_id(hold))


def test_malformed_ids_are_known_by_their_form() -> None:
    good = ids.hold_id(TenantId("demo"), "key", 1)
    for bad in ("", "hold_", good + "a", good[:-1], good.upper(), good + "\n", " " + good):
        assert not ids.is_hold_id(bad)
    for bad in ("flt_", "flt_" + "a" * 61, "flt_a b", "flt_a|b", "flt_a;b", "FLT_a", "flt_á"):
        assert not ids.is_flight_id(bad)
    assert ids.is_flight_id("flt_" + "a" * 60)
