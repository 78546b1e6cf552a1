"""The documentation page in a real browser."""
