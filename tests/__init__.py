"""The suite: real servers, stable faces."""
