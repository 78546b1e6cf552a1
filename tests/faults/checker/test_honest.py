"""Whoever keeps every promise is never accused, whatever is lost, repeated or refused on the way."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.faults.checker import check
from tests.faults.checker.scripts import STEPS, play


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=60))
def test_an_honest_seller_is_never_accused(steps: list[tuple[str, int, str]]) -> None:
    seller = play(steps)
    dumps = seller.dumps()
    assert [str(one) for one in check(seller.history, dumps, seller.terms)] == []
