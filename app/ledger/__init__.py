"""The history of every seat of a flight, read from what other features wrote. Writes nothing."""
