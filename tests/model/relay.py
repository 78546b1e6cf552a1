"""The outbox and its relay: every committed event is published, in order, and no event of a rollback is.

Events 1 and 2 belong to one aggregate, and 2 is written after 1 was committed; 3 belongs to another; 4 is
never committed. Row ids are drawn before the commit, in any order. The relay reads the events that are
free, offers each to a bus that accepts or refuses it, and marks the accepted ones in one write, while it
may already read and offer the next. An event gets its position with its mark, with its refusal, or on its
own while others wait. The relay may end between any two steps, or be paused: then another begins, and
what the paused one had read may still reach the bus, but the paused one never marks it.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

MISTAKES: Final = (
    "reads by id > cursor",
    "marks before it publishes",
    "holds nothing back",
    "numbers out of sequence",
)
_SEQUENCE: Final = {1: ("a", 1), 2: ("a", 2), 3: ("b", 1), 4: ("b", 2)}
_STEPS_MAX: Final = 40
_NOTHING: Final[frozenset[int]] = frozenset()


class _State(NamedTuple):
    drawn: tuple[int, ...] = ()
    committed: tuple[int, ...] = ()
    numbered: tuple[int, ...] = ()  # in the order of positions, as the list shows them
    published: tuple[int, ...] = ()  # in the order of first deliveries; repetitions change nothing
    marked: frozenset[int] = _NOTHING
    cursor: int = 0
    offered: frozenset[int] = _NOTHING  # read, and not yet offered to the bus
    unmarked: frozenset[int] = _NOTHING  # accepted by the bus, not yet marked in the database
    frozen: frozenset[int] = _NOTHING  # read by a relay that lost its lease


def failure(mistake: str | None = None) -> tuple[str | None, int]:
    """The description of a failure, or None; and the number of states seen."""
    seen, todo = {_State()}, [_State()]
    while todo:
        state = todo.pop()
        found = _wrong(state) or _left_behind(state, mistake)
        if found:
            return found, len(seen)
        for after in (*_writers(state), *_ends(state), *_relay(state, mistake)):
            if after not in seen:
                seen.add(after)
                todo.append(after)
    return None, len(seen)


def _wrong(state: _State) -> str | None:
    for name, order in (("published", state.published), ("listed", state.numbered)):
        if 4 in order:
            return f"I7 an event of an aborted transaction is {name}"
        if 2 in order and 1 not in order[: order.index(2)]:
            return f"I8 the second event of an aggregate is {name} before its first"
    return None


def _left_behind(state: _State, mistake: str | None) -> str | None:
    """Run the relay alone to its end: every committed event must then be published and listed."""
    rest = state
    for _ in range(_STEPS_MAX):
        following = next(_relay(rest, mistake), None)
        if following is None:
            break
        rest = following
    for event in rest.committed:
        if event not in rest.published:
            return f"I7 committed event {event} is never published"
        if event not in rest.numbered:
            return f"I7 committed event {event} is never listed"
    return None


def _writers(state: _State) -> Iterator[_State]:
    for event in _SEQUENCE:
        if event not in state.drawn and (event != 2 or 1 in state.committed):
            yield state._replace(drawn=(*state.drawn, event))
        if event in state.drawn and event not in state.committed and event != 4:
            yield state._replace(committed=(*state.committed, event))


def _ends(state: _State) -> Iterator[_State]:
    if state.offered or state.unmarked:
        yield state._replace(offered=_NOTHING, unmarked=_NOTHING)
        yield state._replace(offered=_NOTHING, unmarked=_NOTHING, frozen=state.offered)
    for event in state.frozen:
        yield _published(state, event)._replace(frozen=state.frozen - {event})


def _relay(state: _State, mistake: str | None) -> Iterator[_State]:
    """The relay's next steps. Taking the first each time leads to its end."""
    marks_first = mistake == "marks before it publishes"
    for event in sorted(state.offered):
        unmarked = state.unmarked if marks_first else state.unmarked | {event}
        rest = state.offered - {event}
        yield _published(state, event)._replace(offered=rest, unmarked=unmarked)
    if state.unmarked:
        yield _marked(state, state.unmarked)._replace(unmarked=_NOTHING)
    if not state.offered:
        read = frozenset(_candidates(state, mistake))
        if read:
            yield (_marked(state, read) if marks_first else state)._replace(offered=read)
    for event in sorted(state.offered):  # refused
        yield _listed(state, event)._replace(offered=state.offered - {event})
    for event in state.committed:
        if event not in state.numbered and _may_be_numbered(state, event, mistake):
            yield _listed(state, event)


def _published(state: _State, event: int) -> _State:
    if event in state.published:
        return state
    return state._replace(published=(*state.published, event))


def _marked(state: _State, events: frozenset[int]) -> _State:
    for event in sorted(events):
        state = _listed(state, event)
        cursor = max(state.cursor, state.drawn.index(event) + 1)
        state = state._replace(marked=state.marked | {event}, cursor=cursor)
    return state


def _listed(state: _State, event: int) -> _State:
    """Give the event a position, unless it has one: a position never changes."""
    if event in state.numbered:
        return state
    return state._replace(numbered=(*state.numbered, event))


def _may_be_numbered(state: _State, event: int, mistake: str | None) -> bool:
    return mistake == "numbers out of sequence" or all(
        earlier in state.numbered for earlier in _earlier(event)
    )


def _earlier(event: int) -> list[int]:
    aggregate, number = _SEQUENCE[event]
    return [e for e, (name, n) in _SEQUENCE.items() if name == aggregate and n < number]


def _candidates(state: _State, mistake: str | None) -> Iterator[int]:
    """Events free to publish: not marked, not being marked, and every earlier one of the aggregate is."""
    by_cursor = mistake == "reads by id > cursor"
    for event in state.drawn:
        if event not in state.committed or event in state.unmarked:
            continue
        if by_cursor:
            if state.drawn.index(event) + 1 > state.cursor:
                yield event
        elif event not in state.marked and (
            mistake == "holds nothing back" or state.marked.issuperset(_earlier(event))
        ):
            yield event
