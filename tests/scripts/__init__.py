"""The scripts of this repository."""
