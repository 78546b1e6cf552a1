"""A cursor opens only if it is signed, unchanged and of the same query."""

import base64

import pytest

from app.errors import ValidationFailed
from app.transport.http.wire.cursors import Cursors

QUERY = ("tenant-1", "holds", "active", None)
KEYS = ["a" * 32, "b" * 32]


def test_a_cursor_opens_to_what_was_sealed() -> None:
    cursors = Cursors(KEYS)
    position: list[str | int] = ["2026-12-10T08:30:00.123456+00:00", "hold_é", 7]
    assert cursors.open(QUERY, cursors.seal(QUERY, position)) == position


def test_every_changed_character_is_noticed() -> None:
    cursors = Cursors(KEYS)
    sealed = cursors.seal(QUERY, ["x", 1])
    for index, character in enumerate(sealed):
        changed = sealed[:index] + ("A" if character != "A" else "B") + sealed[index + 1 :]
        refuse(cursors, changed)


@pytest.mark.parametrize("text", ["", "=", "A", "é", "a b", "A" * 200, "\0"])
def test_text_that_was_never_a_cursor(text: str) -> None:
    refuse(Cursors(KEYS), text)


@pytest.mark.parametrize("tail", ["=", "==", "\n", "A", "AAAA", " "])
def test_text_added_to_a_cursor(tail: str) -> None:
    cursors = Cursors(KEYS)
    refuse(cursors, cursors.seal(QUERY, [1]) + tail)


@pytest.mark.parametrize(
    "other",
    [
        ("tenant-2", "holds", "active", None),
        ("tenant-1", "events", "active", None),
        ("tenant-1", "holds", "active", "None"),
        ("tenant-1", "holds", None, "active"),
        ("tenant-1", "holds", "active"),
    ],
)
def test_a_cursor_of_another_query(other: tuple[str | None, ...]) -> None:
    cursors = Cursors(KEYS)
    with pytest.raises(ValidationFailed) as caught:
        cursors.open(other, cursors.seal(QUERY, [1]))
    assert [(v.place, v.at) for v in caught.value.violations] == [("parameter", "after")]


def test_old_keys_verify_and_strangers_do_not() -> None:
    sealed = Cursors(KEYS[1:]).seal(QUERY, [1])
    assert Cursors(KEYS).open(QUERY, sealed) == [1]
    refuse(Cursors(KEYS[:1]), sealed)


def test_a_cursor_hides_nothing_it_should() -> None:
    sealed = Cursors(KEYS).seal(QUERY, [1])
    assert b"tenant" not in base64.urlsafe_b64decode(sealed + "==")


def refuse(cursors: Cursors, text: str) -> None:
    with pytest.raises(ValidationFailed):
        cursors.open(QUERY, text)
