"""`holdfast doctor`: its rules, its output and its repair."""
