"""The order in which transactions take row locks: can they deadlock, and can one of them starve?

`deadlock` tries every interleaving of every three transactions. `starvation` checks whether a stream of
share locks on the epoch's row can starve the transaction that ends the epoch (the bump), since PostgreSQL
grants a share lock ahead of an update that waits.
"""

from itertools import combinations
from typing import Final, Literal

Lock = tuple[str, Literal["S", "X"]]
Progress = tuple[int, ...]

_EPOCH: Final[Lock] = ("epoch", "S")
_KEYS: Final[tuple[Lock, ...]] = (
    ("key A", "X"),
    ("key B", "X"),
)  # idempotency keys of two requests
_OTHER_KEY: Final[Lock] = ("key C", "X")  # of a third, for hold B too
_JOURNAL: Final[tuple[Lock, ...]] = (("journal A", "X"), ("journal B", "X"))
_STOCK: Final[tuple[Lock, ...]] = (("stock 1", "X"), ("stock 2", "X"))
_END: Final[tuple[Lock, ...]] = (("epoch", "X"), *_JOURNAL)

TRANSACTIONS: dict[str, tuple[Lock, ...]] = {
    "append": (_EPOCH, *_JOURNAL),
    "append of others": (_EPOCH, *_JOURNAL),
    "book A": (_KEYS[0], _EPOCH, _JOURNAL[0], *_STOCK),
    "book B": (_OTHER_KEY, _EPOCH, _JOURNAL[1], *_STOCK),
    "book batch": (*_KEYS, _EPOCH, *_JOURNAL, *_STOCK),
    "book batch elsewhere": (*_KEYS, _EPOCH, *_JOURNAL, *_STOCK),
    "bump": _END,
    "bump of another": _END,
    "settle": (_EPOCH, _JOURNAL[0], ("stock 1", "S")),
    "release": _JOURNAL,
    "cancel": (("booking", "X"), *_STOCK),
    "patch": (_STOCK[0],),
    "expire": (_EPOCH, *_JOURNAL),
}
MISTAKES: dict[str, dict[str, tuple[Lock, ...]]] = {
    "rows of a batch unsorted": {"append of others": (_EPOCH, *reversed(_JOURNAL))},
    "inventory unsorted": {"book B": (_OTHER_KEY, _EPOCH, _JOURNAL[1], *reversed(_STOCK))},
    "keys of a batch unsorted": {"book batch": (*reversed(_KEYS), _EPOCH, *_JOURNAL, *_STOCK)},
    "a batch sells item by item": {
        "book batch": (*_KEYS, _EPOCH, _JOURNAL[0], _STOCK[0], _JOURNAL[1], _STOCK[1])
    },
    "settling locks the journal before the epoch": {"settle": (_JOURNAL[0], _EPOCH)},
    "the bump reads with a share lock first": {
        "bump": (_EPOCH, *_END),
        "bump of another": (_EPOCH, *_END),
    },
}


def deadlock(mistake: str | None = None) -> tuple[str | None, int]:
    """The description of a deadlock, or None; and the number of states seen."""
    transactions = TRANSACTIONS | (MISTAKES[mistake] if mistake else {})
    states = 0
    for names in combinations(transactions, 3):
        found, seen = _among(names, [transactions[name] for name in names])
        states += seen
        if found:
            return found, states
    return None, states


def _among(names: tuple[str, ...], wanted: list[tuple[Lock, ...]]) -> tuple[str | None, int]:
    todo: list[Progress] = [(0,) * len(wanted)]
    seen = set(todo)
    while todo:
        progress = todo.pop()
        following = [
            (*progress[:k], at + 1, *progress[k + 1 :])
            for k, at in enumerate(progress)
            if at <= len(wanted[k]) and not _waits(wanted, progress, k)
        ]
        if not following and any(at <= len(wanted[k]) for k, at in enumerate(progress)):
            waiting = [
                f"{names[k]} for {wanted[k][at][0]}"
                for k, at in enumerate(progress)
                if at < len(wanted[k])
            ]
            return "deadlock: " + ", ".join(waiting), len(seen)
        for each in following:
            if each not in seen:
                seen.add(each)
                todo.append(each)
    return None, len(seen)


def _waits(wanted: list[tuple[Lock, ...]], progress: Progress, k: int) -> bool:
    """Whether a transaction that has not ended holds the lock that transaction `k` needs next.

    One step after the last lock is the end of a transaction.
    """
    at = progress[k]
    if at == len(wanted[k]):
        return False
    row, mode = wanted[k][at]
    for other, reached in enumerate(progress):
        if other == k or reached > len(wanted[other]):
            continue
        if any(row == held and "X" in (mode, how) for held, how in wanted[other][:reached]):
            return True
    return False


def starvation(*, gate: bool) -> bool:
    """Whether two appenders that repeat without end can starve the bump.

    A state is which of them hold the share lock; the bump can run in a state where none does. Behind the
    gate no new share lock is taken.
    """
    start = (True, True)
    seen, todo = set(), [(start, frozenset([start]))]
    while todo:
        state, path = todo.pop()
        for k in (0, 1):
            if not state[k] and gate:
                continue
            following = (not state[0], state[1]) if k == 0 else (state[0], not state[1])
            if not any(following):
                continue  # the bump runs
            if following in path:
                return True
            if following not in seen:
                seen.add(following)
                todo.append((following, path | {following}))
    return False
