"""The arithmetic of nested classes, and the catalogue."""
