"""One router a feature."""
