"""The exception for a broken invariant."""


class Violation(Exception):
    """An invariant is broken; the text begins with its name, such as I3."""
