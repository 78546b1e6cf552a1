"""One Holdfast a folder, and secrets that last."""

from pathlib import Path

import pytest

from app.dev.data_dir import kept_secret, locked
from app.dev.errors import CannotStartError


def test_a_folder_belongs_to_one(tmp_path: Path) -> None:
    with (
        locked(tmp_path / "data"),
        pytest.raises(CannotStartError, match="in use by another Holdfast"),
        locked(tmp_path / "data"),
    ):
        raise AssertionError("locked twice")


def test_a_folder_is_free_again_afterwards(tmp_path: Path) -> None:
    for _ in range(2):
        with locked(tmp_path / "data"):
            pass


def test_a_folder_that_cannot_be_made_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CannotStartError, match="cannot be used"), locked(tmp_path / "file" / "in"):
        raise AssertionError("locked nothing")


def test_a_secret_is_drawn_once_and_private(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    first = kept_secret(file)
    assert kept_secret(file) == first
    assert len(first) >= 32
    assert file.stat().st_mode & 0o777 == 0o600
    assert kept_secret(tmp_path / "other") != first
