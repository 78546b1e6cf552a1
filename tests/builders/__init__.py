"""Test data builders: the defaults are valid, and a keyword varies one thing."""
