"""The great losses, each played once from beginning to end, at any size: `python -m tests.faults.scenarios`."""
