"""Scenarios: the worst losses, each run once from beginning to end: `python -m tests.faults.scenarios`."""
