"""Fixtures of the tests of the transports."""

from tests.fixtures.logging import logged

__all__ = ["logged"]
