"""The rim."""
