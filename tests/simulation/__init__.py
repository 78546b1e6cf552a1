"""The shipped protocol under a seeded scheduler: every run is one of many, and each replays exactly."""
