"""The Dockerfiles keep their rules, and the settings of the image are settings of the program."""

import json
from pathlib import Path

import pytest

from app.settings import Settings
from tests.docker.files import DOCKERFILES, ROOT, image_environment, instructions, services

each_dockerfile = pytest.mark.parametrize("dockerfile", DOCKERFILES.values(), ids=str)


@each_dockerfile
def test_any_builder_understands_it(dockerfile: Path) -> None:
    text = dockerfile.read_text()

    assert "# syntax" not in text
    assert "<<" not in text
    assert "--mount" not in text
    assert "--chmod" not in text


@each_dockerfile
def test_it_starts_from_the_agreed_image(dockerfile: Path) -> None:
    bases = {rest.split()[0] for name, rest in instructions(dockerfile) if name == "FROM"}

    assert bases == {"python:3.12-slim-bookworm"}


@each_dockerfile
def test_it_runs_without_root(dockerfile: Path) -> None:
    (user,) = (rest for name, rest in instructions(dockerfile) if name == "USER")

    assert all(int(number) >= 10000 for number in user.split(":"))


@each_dockerfile
def test_no_shell_stands_between_docker_and_the_program(dockerfile: Path) -> None:
    commands = dict(instructions(dockerfile))

    assert json.loads(commands["ENTRYPOINT"])
    assert json.loads(commands["CMD"])
    assert json.loads(commands["HEALTHCHECK"].partition(" CMD ")[2])


@each_dockerfile
def test_what_it_copies_is_there_and_not_ignored(dockerfile: Path) -> None:
    ignored, *allowed = [
        line
        for line in (dockerfile.parent / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    copied = [
        source
        for name, rest in instructions(dockerfile)
        if name == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    ]

    assert ignored == "*"
    assert sorted(copied) == sorted(line[1:] for line in allowed if line.startswith("!"))
    assert all((dockerfile.parent / source).exists() for source in copied)


def test_everything_is_installed_by_its_hash() -> None:
    for dockerfile in DOCKERFILES.values():
        installs = [
            rest for name, rest in instructions(dockerfile) if "pip" in rest and name == "RUN"
        ]

        assert len(installs) == 1
        assert "--require-hashes" in installs[0]
        assert "--only-binary :all:" in installs[0]


def test_the_environment_of_every_service_is_valid() -> None:
    image = image_environment()

    for name, service in services().items():
        if service["image"] == "holdfast":
            given = {key: "8000" if "$" in value else value for key, value in _environment(service)}
            settings = Settings.from_environment({**image, **given})

            assert settings.host == "0.0.0.0"
            unknown = {key.lower() for key in given} - Settings.model_fields.keys()
            assert all(key.startswith("aws_") for key in unknown), f"{name}: {unknown}"


def test_the_image_carries_what_migrating_needs() -> None:
    copied = {rest.split()[0] for name, rest in instructions(ROOT / "Dockerfile") if name == "COPY"}

    assert {"alembic.ini", "migrations", "app"} <= copied


def _environment(service: dict[str, dict[str, str]]) -> list[tuple[str, str]]:
    return list(service.get("environment", {}).items())
