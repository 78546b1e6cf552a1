"""The registry of repair jobs: it lists every job once."""

import importlib
import inspect
import pkgutil

import pytest

from app.hold import repairs
from app.hold.repairs.resolver import Resolver
from app.wiring import Core


def classes_with_a_pass() -> set[type]:
    modules = [
        importlib.import_module(f"{repairs.__name__}.{one.name}")
        for one in pkgutil.iter_modules(repairs.__path__)
    ]
    return {
        kind
        for module in modules
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if kind.__module__ == module.__name__
        and "run_once" in vars(kind)
        and not getattr(kind, "_is_protocol", False)
    }


def test_every_job_has_one_row(core: Core) -> None:
    rows = list(core.repairs)
    assert {type(row.work) for row in rows} == classes_with_a_pass()
    assert len({row.name for row in rows}) == len(rows) == len({type(row.work) for row in rows})
    assert all(row.every_seconds > 0 for row in rows)


def test_a_job_is_found_by_its_class(core: Core) -> None:
    assert isinstance(core.repairs[Resolver], Resolver)
    with pytest.raises(KeyError, match="NoJob"):
        core.repairs[type("NoJob", (Resolver,), {})]
