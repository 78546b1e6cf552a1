"""The fault harness: real processes under load while something fails."""
