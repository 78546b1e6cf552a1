"""The checker reports nothing for a correct seller, whatever is lost, repeated or refused."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.faults.checker import check
from tests.faults.checker.scripts import STEPS, play


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=60))
def test_a_correct_seller_has_no_violations(steps: list[tuple[str, int, str]]) -> None:
    seller = play(steps)
    dumps = seller.dumps()
    assert [str(one) for one in check(seller.history, dumps, seller.terms)] == []
