"""Domain values to JSON and back: schemas, rendering, cursors, ETags."""
