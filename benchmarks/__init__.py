"""`make bench`: how fast, against what in the same run, and how the cost grows. README: docs/benchmarks."""
