"""What a run ends with when the protocol did not keep its word."""


class Violation(Exception):
    """One of the invariants is broken; the text begins with its name."""
