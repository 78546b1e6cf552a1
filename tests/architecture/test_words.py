"""No name, comment, docstring, message or document has a word that docs/glossary.md avoids."""

from pathlib import Path

import pytest

from tests.architecture.words import GLOSSARY, ROOT, avoided, files, violations

RULES = avoided()
DOCUMENTS = [file for file in files(*ROOT.glob("*.md"), ROOT / "docs") if file != GLOSSARY]

SAMPLE = '''
"""Whoever asks is told."""
# A fencing token; nobody lets
# go of it.
def tell_all(turn_seconds: int) -> str:
    return_value = "the server is away"
    rows = "SELECT fence FROM hold_journal WHERE id = 1"
    field = "fence"
    return f"guaranteed {return_value} {rows} {field}"
'''


def test_each_kind_of_text_is_read(tmp_path: Path) -> None:
    file = tmp_path / "guard.py"
    file.write_text(SAMPLE, encoding="utf-8")
    assert sorted((one.line, one.found) for one in violations(file, RULES)) == [
        (1, "guard"),
        (2, "Whoever"),
        (2, "told"),
        (3, "lets go"),
        (3, "nobody"),
        (5, "tell"),
        (5, "turn"),
        (6, "is away"),
    ]


def test_lua_is_read_too(tmp_path: Path) -> None:
    file = tmp_path / "settle.lua"
    file.write_text("-- The guard.\nlocal turn = 'HELD'\nreturn turn\n", encoding="utf-8")
    assert [(one.line, one.found) for one in violations(file, RULES)] == [
        (1, "guard"),
        (2, "turn"),
    ]


@pytest.mark.parametrize("word", ["fence", "claim", "turn", "told", "mend"])
def test_every_private_word_has_a_rule(word: str) -> None:
    assert any(rule.pattern.search(word) for rule in RULES)


@pytest.mark.parametrize(
    "file",
    [*files(ROOT / "app"), *DOCUMENTS],
    ids=lambda file: str(file.relative_to(ROOT)),
)
def test_a_file_has_no_avoided_word(file: Path) -> None:
    assert [str(violation) for violation in violations(file, RULES)] == []
