"""Domain values as JSON and back: schemas, rendering, cursors, ETags."""
