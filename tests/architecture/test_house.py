"""What the house promises of every room in it. Import directions are import-linter's, in `make check`."""

import ast
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import app
from app.errors import DomainError, ErrorKind
from app.transport.http.problems.problem import STATUS

ROOT = Path(app.__file__).parent
MODULES = sorted(path for path in ROOT.rglob("*.py"))
CONTRACT_CODES = {
    "malformed_json",
    "idempotency_key_missing",
    "unauthenticated",
    "scope_missing",
    "not_found",
    "method_not_allowed",
    "sold_out",
    "price_changed",
    "hold_not_active",
    "extension_limit_reached",
    "duplicate_booking",
    "not_for_sale",
    "flight_in_use",
    "idempotency_in_flight",
    "hold_expired",
    "offer_expired",
    "body_too_large",
    "unsupported_media_type",
    "validation_error",
    "idempotency_key_reused",
    "hold_store_unavailable",
    "database_unavailable",
    "overloaded",
}


def refusals() -> Iterator[type[DomainError]]:
    for module in pkgutil.walk_packages([str(ROOT)], "app."):
        if ".dev." not in module.name and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    waiting = DomainError.__subclasses__()
    while waiting:
        one = waiting.pop()
        waiting += one.__subclasses__()
        if one.__module__.startswith("app."):  # tests make some of their own
            yield one


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_opens_with_what_it_owns(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_every_refusal_has_a_code_of_the_contract() -> None:
    told = {one.code for one in refusals()}
    assert told <= CONTRACT_CODES


def test_one_code_has_one_kind_and_one_title() -> None:
    seen: dict[str, tuple[ErrorKind, str]] = {}
    for one in refusals():
        assert seen.setdefault(one.code, (one.kind, one.title)) == (one.kind, one.title)


def test_every_kind_has_a_status() -> None:
    assert set(STATUS) == set(ErrorKind)


def test_only_stores_and_the_journal_change_rows() -> None:
    """SQL that writes stands where it is looked for."""
    writing = ("INSERT INTO", "UPDATE ", "DELETE FROM")
    allowed = ("store.py", "outbox/lease_store.py", "epochs/transition.py", "epochs/suspicion.py")
    for path in MODULES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        texts = [
            n.value
            for n in ast.walk(tree)
            if isinstance(n, ast.Constant) and isinstance(n.value, str)
        ]
        docs = {
            ast.get_docstring(n, clean=False)
            for n in ast.walk(tree)
            if isinstance(n, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        }
        sql = [
            t
            for t in texts
            if t not in docs and any(t.lstrip().startswith(word) for word in writing)
        ]
        assert not sql or path.as_posix().endswith(allowed), path


def test_no_module_is_too_long() -> None:
    """A module of more than 300 lines holds more than one concern."""
    long = {
        path.name: size for path in MODULES if (size := len(path.read_text().splitlines())) > 300
    }
    assert long == {}


@pytest.mark.parametrize(("room", "most"), [("hold", 16), ("transport/http", 10)])
def test_a_room_has_few_entries(room: str, most: int) -> None:
    entries = [one.name for one in (ROOT / room).iterdir() if one.name != "__pycache__"]
    assert len(entries) <= most, entries
