"""Rendering, cursors, entity tags and schemas."""
