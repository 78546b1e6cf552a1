"""Shared by the tests of the concurrency primitives."""

from tests.fixtures.logging import logged

__all__ = ["logged"]
