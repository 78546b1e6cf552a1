"""Every metric of this application begins with `holdfast_`."""

import importlib
import pkgutil

from prometheus_client import REGISTRY
from prometheus_client.metrics_core import Metric

import app

OF_THE_LIBRARY = ("python_", "process_")


def metrics() -> list[Metric]:
    for module in pkgutil.walk_packages(app.__path__, "app."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    return [one for one in REGISTRY.collect() if not one.name.startswith(OF_THE_LIBRARY)]


def test_every_metric_begins_with_holdfast() -> None:
    names = [one.name for one in metrics()]
    assert len(names) > 10, "all modules are imported"
    assert [name for name in names if not name.startswith("holdfast_")] == []
