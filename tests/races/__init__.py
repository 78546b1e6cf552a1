"""Interleavings of two operations, stopped at each of their steps."""
