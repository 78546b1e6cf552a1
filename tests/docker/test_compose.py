"""docker-compose.yml: containers are hardened, bounded, local, and started in order."""

import re
from typing import Any

import pytest

from tests.docker.files import ROOT, compose, services

TASKS = {"migrate", "sample", "ready"}
OUR_IMAGES = {"holdfast", "holdfast-moto"}
STATES = {"service_healthy", "service_completed_successfully"}

each_service = pytest.mark.parametrize("name", sorted(services()))


def test_it_has_neither_a_version_nor_a_name() -> None:
    top = {key for key in compose() if not key.startswith("x-")}

    assert top == {"services", "volumes"}


def test_the_stores_are_the_agreed_ones() -> None:
    assert services()["postgres"]["image"] == "postgres:16-bookworm"
    assert services()["redis"]["image"] == "redis:7-bookworm"


def test_each_image_of_ours_is_built_once() -> None:
    built = [s["image"] for s in services().values() if "build" in s]

    assert sorted(built) == sorted(OUR_IMAGES)
    assert {s["image"] for s in services().values()} - OUR_IMAGES == {
        "postgres:16-bookworm",
        "redis:7-bookworm",
    }


@each_service
def test_a_container_can_change_nothing_but_its_data(name: str) -> None:
    service = services()[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    # Our images name their user themselves; the others would start as root.
    assert service["image"] in OUR_IMAGES or service["user"] in {"postgres", "redis"}


@each_service
def test_a_container_is_bounded(name: str) -> None:
    service = services()[name]

    assert re.fullmatch(r"\d+m", service["mem_limit"])
    assert 0 < service["cpus"] <= 1, "more than a small machine has is refused by Docker"
    assert 0 < service["pids_limit"] <= 256
    assert all("size=" in mount for mount in service["tmpfs"])


@each_service
def test_a_port_is_published_to_this_machine_alone(name: str) -> None:
    for port in services()[name].get("ports", []):
        assert port.startswith("127.0.0.1:")


@each_service
def test_what_is_kept_is_in_a_named_volume(name: str) -> None:
    for volume in services()[name].get("volumes", []):
        assert volume.partition(":")[0] in compose()["volumes"]


@each_service
def test_a_service_has_a_healthcheck_and_a_task_has_none(name: str) -> None:
    service = services()[name]

    if name in TASKS:
        assert service["healthcheck"] == {"disable": True}
        assert service["restart"] == "no"
    else:
        assert service["healthcheck"]["test"][0] == "CMD"
        assert service["healthcheck"].keys() >= {"interval", "timeout", "retries", "start_period"}
        assert service["restart"] == "unless-stopped"


@each_service
def test_nothing_starts_before_what_it_needs_is_ready(name: str) -> None:
    needed = _needed(name)

    for other, condition in needed.items():
        assert condition["condition"] in STATES
        assert (other in TASKS) == (condition["condition"] == "service_completed_successfully")
    for variable, other in (("DATABASE_URL", "postgres"), ("AWS_ENDPOINT_URL", "moto")):
        if variable in services()[name].get("environment", {}):
            assert other in _all_needed(name)


def test_the_last_to_start_waits_for_everything() -> None:
    assert _all_needed("ready") == services().keys() - {"ready"}


def test_redis_evicts_nothing_and_logs_every_write() -> None:
    command = services()["redis"]["command"]
    options = dict(zip(command[1::2], command[2::2], strict=True))

    assert options["--maxmemory-policy"] == "noeviction"
    assert options["--appendonly"] == "yes"
    megabytes = int(options["--maxmemory"].removesuffix("mb"))
    assert 2 * megabytes < int(services()["redis"]["mem_limit"].removesuffix("m"))


def test_the_address_of_the_issuer_is_the_same_inside_and_outside() -> None:
    api = services()["api"]
    port = api["environment"]["PORT"]

    assert api["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert api["environment"]["DEV_IDENTITY"] == "1"


def test_the_bus_is_one_bus() -> None:
    relay, moto = (services()[name]["environment"] for name in ("relay", "moto"))

    assert relay["EVENT_BUS"] == "eventbridge"
    assert relay["AWS_ENDPOINT_URL"] == f"http://moto:{moto['PORT']}"
    for name in ("EVENT_BUS_NAME", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        assert relay[name] == moto[name]


def test_the_api_has_time_to_finish() -> None:
    from app.roles import DRAIN_SECONDS

    assert int(services()["api"]["stop_grace_period"].removesuffix("s")) > DRAIN_SECONDS + 5


def test_the_readme_names_the_one_command() -> None:
    readme = (ROOT / "README.md").read_text()

    assert "docker-compose up --build --detach" in readme


def _needed(name: str) -> dict[str, Any]:
    needed: dict[str, Any] = services()[name].get("depends_on", {})
    return needed


def _all_needed(name: str) -> set[str]:
    return set(_needed(name)).union(*(_all_needed(other) for other in _needed(name)))
