"""The part of the model that every run of the tests can afford, and that the model can fail."""

from dataclasses import replace

import pytest

from tests.model import locks, relay, shown
from tests.model.configurations import CONFIGURATIONS
from tests.model.flags import Flags, names
from tests.model.search import explore

QUICK = (
    "release",
    "late",
    "extend",
    "extendage",
    "extendback",
    "two",
    "old",
    "newattempt",
    "guard",
)
SOON = 6_000  # states within which these are found
RULES = (
    "tombstones_wait",
    "ratchet_says",
    "fence_raise",
    "undo",
    "attempts",
    "ceiling",
    "redis_expiry",
    "first_answer",
    "full_asks",
)
MISTAKES = (
    "no_guard",
    "no_state_where",
    "no_fence_where",
    "no_tombstone",
    "ack_before_journal",
    "drop_booked",
)


@pytest.mark.parametrize("name", QUICK)
def test_no_order_of_steps_breaks_a_promise(name: str) -> None:
    found = explore(CONFIGURATIONS[name])
    assert found.violation is None, "\n".join((*found.trace, found.violation))
    assert found.is_whole


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_left_out_is_missed(rule: str) -> None:
    where, wanted = shown.RULES[rule]
    turned = replace(Flags(), **{rule: False})
    found = explore(CONFIGURATIONS[where], turned, strict=False, states_max=SOON, wanted=wanted)
    assert found.violation is not None


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_caught(mistake: str) -> None:
    where, wanted = shown.MISTAKES[mistake]
    turned = replace(Flags(), **{mistake: True})
    found = explore(CONFIGURATIONS[where], turned, strict=False, states_max=SOON, wanted=wanted)
    assert found.violation is not None


def test_each_switch_is_shown_somewhere() -> None:
    assert set(names("rule")) == set(shown.RULES)
    assert set(names("choice")) == set(shown.CHOICES)
    assert set(names("mistake")) == set(shown.MISTAKES)
    assert set(shown.MISTAKES) >= set(shown.ALSO)


def test_no_three_transactions_wait_for_each_other() -> None:
    assert locks.deadlock()[0] is None
    assert all(locks.deadlock(mistake)[0] for mistake in locks.MISTAKES)
    assert locks.starvation(gate=False)
    assert not locks.starvation(gate=True)


def test_every_committed_event_is_published_in_order() -> None:
    assert relay.failure()[0] is None
    assert all(relay.failure(mistake)[0] for mistake in relay.MISTAKES)
