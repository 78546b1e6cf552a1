"""The repair jobs: what a pass does, and that a second one does no harm."""
