"""The outbox and its relay: is every committed event published, in order, and none of an aborted one?

Events 1 and 2 are of one aggregate, 2 written after 1 was committed; 3 is of another; 4 is never
committed. Row ids are drawn before the commit, in any order. The relay may end between any two steps.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

MISTAKES: Final = ("reads by id > cursor", "marks before it publishes", "holds nothing back")
_SEQUENCE: Final = {1: ("a", 1), 2: ("a", 2), 3: ("b", 1), 4: ("b", 2)}
_PUBLISHED_MAX: Final = 6
_STEPS_MAX: Final = 40


class _State(NamedTuple):
    drawn: tuple[int, ...] = ()
    committed: tuple[int, ...] = ()
    published: tuple[int, ...] = ()
    marked: frozenset[int] = frozenset()
    cursor: int = 0
    step: str = "idle"
    event: int = 0


def failure(mistake: str | None = None) -> tuple[str | None, int]:
    """What goes wrong, or None; and how many states were seen."""
    seen, todo = {_State()}, [_State()]
    while todo:
        state = todo.pop()
        found = _wrong(state) or _left_behind(state, mistake)
        if found:
            return found, len(seen)
        for after in (*_writers(state), *_relay(state, mistake)):
            if after not in seen:
                seen.add(after)
                todo.append(after)
    return None, len(seen)


def _wrong(state: _State) -> str | None:
    first = {event: state.published.index(event) for event in set(state.published)}
    if 4 in first:
        return "I7 an event of an aborted transaction is published"
    if 2 in first and (1 not in first or first[1] > first[2]):
        return "I8 the second event of an aggregate comes before its first"
    return None


def _left_behind(state: _State, mistake: str | None) -> str | None:
    """The relay alone, to its end: is anything that was committed not published?"""
    rest = state._replace(step="idle", event=0)
    for _ in range(_STEPS_MAX):
        following = next(_relay(rest, mistake), None)
        if following is None:
            break
        rest = following
    missing = [event for event in rest.committed if event not in rest.published]
    if missing and len(rest.published) < _PUBLISHED_MAX:
        return f"I7 committed event {missing[0]} is never published"
    return None


def _writers(state: _State) -> Iterator[_State]:
    for event in _SEQUENCE:
        if event not in state.drawn and (event != 2 or 1 in state.committed):
            yield state._replace(drawn=(*state.drawn, event))
        if event in state.drawn and event not in state.committed and event != 4:
            yield state._replace(committed=(*state.committed, event))
    if state.step != "idle":
        yield state._replace(step="idle", event=0)  # it ends, and another begins


def _relay(state: _State, mistake: str | None) -> Iterator[_State]:
    marks_first = mistake == "marks before it publishes"
    if state.step == "idle":
        candidates = list(_candidates(state, mistake))
        count = None if mistake == "holds nothing back" else 1
        for event in candidates[:count]:
            yield state._replace(step="mark" if marks_first else "publish", event=event)
    elif state.step == "publish" and len(state.published) < _PUBLISHED_MAX:
        after = state._replace(published=(*state.published, state.event))
        yield after._replace(step="idle", event=0) if marks_first else after._replace(step="mark")
    elif state.step == "mark":
        cursor = max(state.cursor, state.drawn.index(state.event) + 1)
        after = state._replace(marked=state.marked | {state.event}, cursor=cursor)
        yield (
            after._replace(step="publish") if marks_first else after._replace(step="idle", event=0)
        )


def _candidates(state: _State, mistake: str | None) -> Iterator[int]:
    visible = [event for event in state.drawn if event in state.committed]
    by_cursor = mistake == "reads by id > cursor"
    for event in visible:
        if by_cursor and state.drawn.index(event) + 1 <= state.cursor:
            continue
        if not by_cursor and event in state.marked:
            continue
        aggregate, number = _SEQUENCE[event]
        earlier = [e for e in visible if _SEQUENCE[e][0] == aggregate and _SEQUENCE[e][1] < number]
        is_held_back = any(e not in state.marked for e in earlier)
        if by_cursor or mistake == "holds nothing back" or not is_held_back:
            yield event
