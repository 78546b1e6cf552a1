"""The worlds that are quick to explore hold, and the model can fail."""

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
STATES_TO_FAIL_MAX = 6_000  # within so many states each of these failures must be found
RULES = (
    "tombstones_wait",
    "ratchet_says",
    "token_raise",
    "undo",
    "attempts",
    "ceiling",
    "redis_expiry",
    "first_answer",
    "full_asks",
)
MISTAKES = (
    "no_ceiling_check",
    "no_state_where",
    "no_token_where",
    "no_tombstone",
    "ack_before_journal",
    "drop_booked",
)


@pytest.mark.parametrize("name", QUICK)
def test_every_order_of_steps_keeps_the_invariants(name: str) -> None:
    found = explore(CONFIGURATIONS[name])
    assert found.violation is None, "\n".join((*found.trace, found.violation))
    assert found.is_whole


@pytest.mark.parametrize("rule", RULES)
def test_without_a_rule_the_search_finds_a_failure(rule: str) -> None:
    where, wanted = shown.RULES[rule]
    switched = replace(Flags(), **{rule: False})
    found = explore(
        CONFIGURATIONS[where], switched, strict=False, states_max=STATES_TO_FAIL_MAX, wanted=wanted
    )
    assert found.violation is not None


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_caught(mistake: str) -> None:
    where, wanted = shown.MISTAKES[mistake]
    switched = replace(Flags(), **{mistake: True})
    found = explore(
        CONFIGURATIONS[where], switched, strict=False, states_max=STATES_TO_FAIL_MAX, wanted=wanted
    )
    assert found.violation is not None


def test_each_switch_is_demonstrated() -> None:
    assert set(names("rule")) == set(shown.RULES)
    assert set(names("choice")) == set(shown.CHOICES)
    assert set(names("mistake")) == set(shown.MISTAKES)
    assert set(shown.MISTAKES) >= set(shown.WITH_SWITCHES)


def test_three_transactions_never_deadlock() -> None:
    assert locks.deadlock()[0] is None
    assert all(locks.deadlock(mistake)[0] for mistake in locks.MISTAKES)
    assert locks.starvation(gate=False)
    assert not locks.starvation(gate=True)


def test_every_committed_event_is_published_in_order() -> None:
    assert relay.failure()[0] is None
    assert all(relay.failure(mistake)[0] for mistake in relay.MISTAKES)
