"""Test packages have one shape: an `__init__.py` whose docstring says what its tests are about."""

import ast
from pathlib import Path

TESTS = Path(__file__).parents[1]


def test_every_package_says_what_it_contains() -> None:
    folders = {file.parent for file in TESTS.rglob("*.py")}
    silent = [
        folder.relative_to(TESTS).as_posix()
        for folder in folders
        if not (init := folder / "__init__.py").exists()
        or ast.get_docstring(ast.parse(init.read_text(encoding="utf-8"))) is None
    ]
    assert sorted(silent) == []
