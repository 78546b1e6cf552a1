"""Holdfast: seat inventory that never sells a seat twice."""

__version__ = "0.1.0"
