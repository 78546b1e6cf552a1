"""The HTTP layer, with a small application behind it."""
