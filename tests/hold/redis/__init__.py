"""The scripts, and their typed callers."""
