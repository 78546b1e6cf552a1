"""Shared by the tests of the rim."""

from tests.fixtures.logging import logged

__all__ = ["logged"]
